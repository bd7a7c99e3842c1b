"""How many views there are, and whether what teachers say about them fits."""

from functools import partial

import pytest
import torch

from tests.run.small_runs import make_data, make_teacher, settings
from tests.setup.small_tasks import make_setup
from tutelage.config.schema import Config
from tutelage.data.sampler import Views
from tutelage.distill.methods import METHODS
from tutelage.errors import ConfigError
from tutelage.setup import stores
from tutelage.setup.build import build_run
from tutelage.setup.stores import fit_views, store_root
from tutelage.setup.views import (
    LEAST_VIEWS,
    Formats,
    auto_views,
    choose_flips,
    choose_formats,
    plan_views,
)
from tutelage.structures import Tap
from tutelage.teachers.feature_records import FeatureFormat
from tutelage.teachers.response_records import Grid, ResponseFormat

GIB = 2**30


def config(**changes):
    values = {"train": {"epochs": 40}, "distill": {"teacher": "t"}}
    for section, given in changes.items():
        values[section] = values.get(section, {}) | given
    return Config.model_validate(values)


def methods(*names):
    return {name: METHODS[name]([(4, 4)]) for name in names}


def test_chosen_views():
    assert plan_views(config(), methods("bckd")).views == Views(LEAST_VIEWS)
    assert plan_views(config(), methods("fgd", "sl2")).views == Views(LEAST_VIEWS)
    assert plan_views(config(train={"epochs": 2}), methods("bckd")).views == Views(2)
    assert plan_views(config(distill={"view_seed": 3}), methods("cwd")).views == Views(
        LEAST_VIEWS, 3
    )
    assert plan_views(config(distill={"views": 7}), methods("crosskd")).views == Views(7)
    assert plan_views(config(distill={"views": 40}), methods("bckd")).views == Views(40)
    larger = config(distill={"teacher_scale": 2})  # views are what it is about
    assert plan_views(larger, methods("crosskd")).views == Views(LEAST_VIEWS)


def test_longer_runs_have_more_views():
    assert [auto_views(n) for n in (1, 4, 16, 74, 75, 100, 300)] == [1, 4, 4, 4, 5, 6, 20]


def test_flips_anew():
    p = ResponseFormat(2, True, (Grid(8, 3),))
    maps = FeatureFormat((Tap("p3", 4, 8),))
    able, more, live = Formats(((0, p),), ()), Formats(((0, p), (0, maps)), ()), Formats((), (0,))
    dense = Formats(((0, p._replace(dense=True)),), ())
    assert choose_flips(config(), able)
    assert choose_flips(config(), None)
    assert not any(choose_flips(config(), each) for each in (more, live, dense))
    assert not choose_flips(config(distill={"flips": "view"}), able)
    assert not choose_flips(config(augment={"fliplr": 0.0, "flipud": 0.0}), able)
    assert choose_flips(config(distill={"flips": "fresh"}), able)
    with pytest.raises(ConfigError, match="flips=fresh"):
        choose_flips(config(distill={"flips": "fresh"}), more)


def test_no_views_and_why():
    assert plan_views(config(), None) == (None, "")
    assert plan_views(config(distill={"views": "off"}), methods("bckd")).views is None
    plan = plan_views(config(), methods("bckd", "crosskd"))
    assert plan.views is None
    assert "crosskd" in plan.reason
    assert "every" in plan_views(config(distill={"every": 2}), methods("bckd")).reason
    mixed = config(train={"multi_scale": True}, distill={"images": "more"})
    assert "sizes" in plan_views(mixed, methods("bckd")).reason


def test_a_plain_run_has_views_if_it_is_told_to():
    assert plan_views(config(distill={"views": 4}), None).views == Views(4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"distill": {"views": 41}}, "40 epochs"),
        ({"distill": {"views": 4, "every": 2}}, "distill.every"),
        ({"distill": {"views": "off", "teacher_scale": 2}}, "teacher_scale"),
        ({"distill": {"views": 4, "images": "x"}, "train": {"multi_scale": True}}, "multi_scale"),
    ],
)
def test_contradictions(changes, words):
    with pytest.raises(ConfigError, match=words) as raised:
        plan_views(config(**changes), methods("bckd"))
    assert raised.value.code == "C32"
    assert raised.value.fix


@pytest.fixture
def formats(tmp_path):
    """Return a function that chooses the formats for methods of a teacher of ten layers."""
    teacher = make_teacher(tmp_path / "t.safetensors")

    def choose(*methods, **distill):
        named = [{"name": each} if isinstance(each, str) else each for each in methods]
        given = config(
            train={"image_size": 64}, distill={"teacher": teacher, "methods": named, **distill}
        )
        device = torch.device("cpu")
        return choose_formats(given, make_setup(given.distill, ("cat", "dog")), device)

    return choose


def test_predictions_are_stored_as_the_methods_need_them(formats):
    ((number, best),) = formats("bckd", "box").stored
    assert number == 0
    assert best.grids == (Grid(8, 3), Grid(16, 3), Grid(32, 3))
    assert (best.classes, best.dense, best.box_raw) == (2, False, False)
    ((_, dense),) = formats("bckd", {"name": "logits", "form": "softmax"}).stored
    assert (dense.dense, dense.box_raw) == (True, True)


def test_each_layer_is_stored_once(formats):
    ((_, form),) = formats("fgd", "cwd").stored
    assert [(tap.key, tap.stride) for tap in form.taps] == [("3", 8), ("4", 16), ("5", 32)]
    assert (form.precision, form.zoom) == ("int8", 1)
    ((_, exact),) = formats("fgd", store_features="float16").stored
    assert exact.precision == "float16"
    assert [type(form) for _, form in formats("sl2").stored] == [ResponseFormat, FeatureFormat]


def test_teachers_that_are_asked_in_every_step(formats):
    assert formats("bckd", "crosskd") == ((), (0,))
    assert formats("fgd", store_features="off") == ((), (0,))
    assert formats("bckd", store_features="off").online == ()


def test_a_teacher_of_larger_views_has_their_cells(formats):
    (_, responses), (_, features) = formats("sl2", teacher_scale=2).stored
    assert responses.grids == (Grid(4, 3), Grid(8, 3), Grid(16, 3))
    assert features.zoom == 2


def test_as_many_as_fit_into_the_budget_and_on_the_disk(monkeypatch, tmp_path):
    def fit(size, free=1e15, **distill):
        monkeypatch.setattr(stores, "free_bytes", lambda path: free)
        given = config(distill={"store": str(tmp_path), **distill})
        return fit_views(given, Views(8), lambda views: int(size) * views.per_image)

    assert fit(GIB) == (Views(8), "")
    assert fit(GIB, free=8 * GIB) == (Views(8), "")  # exactly
    views, reason = fit(4 * GIB)
    assert views == Views(2)
    assert "32 GiB" in reason
    assert "store_gib is 10" in reason
    views, reason = fit(GIB, free=3.5 * GIB)
    assert views == Views(3)
    assert str(tmp_path) in reason
    assert fit(11 * GIB)[0] is None
    assert fit(11 * GIB, store_gib=100) == (Views(8), "")
    assert fit(11 * GIB, store="off") == (Views(8), "")
    with pytest.raises(ConfigError, match="need about 88 GiB") as raised:
        fit(11 * GIB, views=8)
    assert raised.value.code == "C33"
    with pytest.raises(ConfigError) as raised:
        fit(4 * GIB, views=8)
    assert "distill.views=2" in raised.value.fix


def test_what_is_stored_needs_no_room(monkeypatch, tmp_path):
    config = settings(
        make_data(tmp_path / "data"),
        tmp_path,
        train={"epochs": 40},
        distill={
            "teacher": make_teacher(tmp_path / "t.safetensors"),
            "methods": [{"name": "bckd", "weight": 1.0}],
            "view_seed": 5,
        },
    )
    parts = build_run(config, stores=True, keep_threads=True)
    assert parts.teaching.views == Views(LEAST_VIEWS, 5, flips=True)
    lacking = partial(
        stores.bytes_lacking,
        config,
        parts.distillation,
        parts.teaching.formats,
        (parts.train, None),
        True,
    )
    each, images = parts.teaching.view_bytes, len(parts.train)
    assert lacking()(Views(4, 5)) == 4 * images * each
    [memory] = parts.distillation.teachers.memories
    memory.labelled.append([(view, image, b"record") for view in (0, 1) for image in range(images)])
    memory.labelled.append([(2, 3, b"record"), (5, 0, b"record")])
    assert lacking()(Views(2, 5)) == 0
    assert lacking()(Views(4, 5)) == (2 * images - 1) * each
    monkeypatch.setattr(stores, "free_bytes", lambda _: images * each)
    assert build_run(config, stores=True, keep_threads=True).teaching.views == Views(
        3, 5, flips=True
    )


def test_a_store_that_is_a_file(tmp_path):
    (tmp_path / "store").write_text("")
    with pytest.raises(ConfigError, match="is a file") as raised:
        fit_views(config(distill={"store": str(tmp_path / "store")}), Views(2), lambda _: 1)
    assert raised.value.code == "C33"


def test_where_stores_are():
    assert str(store_root(config(run={"project": "runs/x"}))) == "runs/x/store"
    assert str(store_root(config(distill={"store": "elsewhere"}))) == "elsewhere"
    assert store_root(config(distill={"store": "off"})) is None
