"""Several methods, several teachers, images without labels: whole runs and what they refuse."""

import json
from pathlib import Path

import pytest
import torch

from tests.data.write_dataset import NAMES, make_scenes
from tests.run.small_runs import last, make_data, make_teacher, run, settings, told
from tests.setup.small_tasks import make_setup
from tutelage.errors import ConfigError
from tutelage.run.events import Finished, Planned, StepDone

CPU = torch.device("cpu")


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    return make_data(tmp_path / "data")


def config(data, tmp_path, teacher=None, **distill):
    path = teacher or make_teacher(tmp_path / "teacher.safetensors")
    return settings(data, tmp_path, distill={"teacher": path, "accept_teacher": True, **distill})


def steps(events):
    return [event for event in events if isinstance(event, StepDone)]


@pytest.mark.slow
def test_each_method_has_its_taps_weight_and_schedule(data, tmp_path):
    methods = [
        {"name": "fgd", "weight": 0.5, "stop_epoch": 1},
        {"name": "pkd", "student_kd_layers": ["6"], "teacher_kd_layers": ["6"]},
        {"name": "bckd", "schedule": "linear"},
    ]
    given = config(data, tmp_path, methods=methods)
    given = given.model_copy(update={"train": given.train.model_copy(update={"epochs": 2})})
    events = run(given)
    found = [set(event.losses.distillation) for event in steps(events)]
    fgd = {name for name in found[0] if name.startswith("fgd/")}
    assert fgd
    assert found[-1] == found[0] - fgd
    plan = dict(last(events, Planned).rows)
    assert "fgd × 0.5 · constant, stops at epoch 1" in plan["methods"]
    rows = [text for _, text in last(events, Planned).rows]
    assert any("6 → 6" in text and "of pkd" in text for text in rows)
    assert any(text.startswith("bckd × auto") and text.endswith("linear") for text in rows)
    assert any(text.endswith("of fgd, bckd") for text in rows)  # bckd reads no maps


NAMED = {"student_kd_layers": ["6"], "teacher_kd_layers": ["6"]}


@pytest.mark.parametrize(
    ("distill", "method", "why"),
    [
        ({}, "bckd", ""),
        (NAMED, "fgd", "auto: fgd since layers are named, with bckd if classes are shared"),
        ({"methods": [{"name": "auto", **NAMED}]}, "fgd", "auto: fgd since layers are named"),
        ({"methods": [{"name": "bckd"}], **NAMED}, "bckd", ""),
    ],
)
def test_named_layers_are_those_of_a_method_that_looks_at_them(
    data, tmp_path, distill, method, why
):
    events = run(config(data, tmp_path, **distill), dry_run=True)
    rows = [text for _, text in last(events, Planned).rows]
    assert dict(last(events, Planned).rows)["methods"].startswith(f"{method} × auto")
    assert [text for text in rows if text.startswith("auto: ")][:1] == [
        text for text in rows if why and text.startswith(why)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("combine", ["average", "pick"])
def test_two_teachers(data, tmp_path, combine):
    paths = (make_teacher(tmp_path / "a.safetensors"), make_teacher(tmp_path / "b.safetensors"))
    methods = [{"name": "fgd"}, {"name": "logits", "teacher": 2}]
    events = run(config(data, tmp_path, paths, methods=methods, combine=combine))
    first, second = {"fgd@1"}, {"fgd@2", "logits@2"}
    assert len(steps(events)) == 2
    for event in steps(events):
        names = {name.partition("/")[0] for name in event.losses.distillation}
        if combine == "average":
            assert names == first | second
        else:  # each image is left to one of them
            assert names in (first, second, first | second)
    folder = Path(last(events, Finished).folder)
    record = json.loads((folder / "teacher.json").read_text())
    assert [one["source"] for one in record["teachers"]] == list(paths)
    labels = [label for label, _ in last(events, Planned).rows]
    assert {"teacher 1", "teacher 2"} <= set(labels)


@pytest.mark.slow
def test_teachers_of_different_classes_each_teach_their_own(data, tmp_path):
    one = make_teacher(tmp_path / "a.safetensors", [NAMES[1], "cow"])
    two = make_teacher(tmp_path / "b.safetensors", [NAMES[0]])
    methods = [{"name": "bckd"}, {"name": "fgd"}]
    given = config(data, tmp_path, (one, two), methods=methods, classes="by-name")
    distillation = make_setup(given.distill, NAMES)
    assert distillation.views["bckd@1"].columns == ((1,), (0,))
    assert distillation.views["bckd@2"].columns == ((0,), (0,))
    assert distillation.views["fgd@1"].columns is None
    assert (distillation.views["fgd@1"].labels, distillation.views["fgd@2"].labels) == ((1,), (0,))
    assert steps(run(given))


def test_other_classes_are_refused_until_they_are_mapped(data, tmp_path):
    path = make_teacher(tmp_path / "t.safetensors", ["cow", NAMES[1]])
    given = config(data, tmp_path, path, methods=[{"name": "bckd"}])
    with pytest.raises(ConfigError, match=f"in common by name: {NAMES[1]}"):
        make_setup(given.distill, NAMES)
    mapped = config(data, tmp_path, path, methods=[{"name": "bckd"}], classes={NAMES[0]: "cow"})
    assert make_setup(mapped.distill, NAMES).views["bckd"].columns == ((0,), (0,))
    free = config(data, tmp_path, path, methods=[{"name": "fgd"}, {"name": "crosskd"}])
    assert len(make_setup(free.distill, NAMES).methods) == 2


@pytest.mark.parametrize("score", [0.3, 1.0])
def test_images_without_labels(data, tmp_path, score):
    make_scenes(tmp_path / "more", 3, ((64, 64),))
    more = {"images": str(tmp_path / "more"), "images_ratio": 0.5, "pseudo_label": score}
    events = run(config(data, tmp_path, methods=[{"name": "fgd"}], **more))
    assert len(steps(events)) == 2  # as many as without them
    plan = dict(last(events, Planned).rows)["data"]
    assert f"3 without labels in {tmp_path / 'more'}, 0.5 per labelled image (" in plan
    assert " · 0 warnings" in plan


def test_images_that_judge_the_run_are_told_among_those_without_labels(data, tmp_path):
    """Links do not hide them; val of these data is train, and test is half of it."""
    held = sorted((tmp_path / "data" / "images" / "train").iterdir())
    (tmp_path / "test.txt").write_text("\n".join(map(str, held[:4])))
    Path(data).write_text(Path(data).read_text() + f"\ntest: {tmp_path / 'test.txt'}\n")
    (tmp_path / "more").mkdir()
    for number in range(3, 6):
        (tmp_path / "more" / f"{number}.png").symlink_to(held[number])
    given = config(data, tmp_path, methods=[{"name": "fgd"}], images=str(tmp_path / "more"))
    events = run(given, dry_run=True)
    assert "3 validation images among the unlabelled" in told(events)
    assert "1 test image among the unlabelled" in told(events)
    plan = dict(last(events, Planned).rows)["data"]
    assert ", 3 of them validation images, 1 of them test images, 0.5 per" in plan
    assert " · 2 warnings" in plan


@pytest.mark.parametrize(
    ("distill", "message"),
    [
        ({"methods": [{"name": "fgd", "teacher": 2}]}, "is bound to teacher 2, but there is 1"),
        ({"stop_epoch": 300}, "would stop at epoch 300, but the run has 1 epochs"),
        ({"warmup_epochs": 1.0}, "would never have its full weight"),
        ({"every": 2}, "every=2: the run has 2 steps, and would be taught at the first alone"),
        (
            {"methods": [{"name": "fgd", "warmup_epochs": 2, "stop_epoch": 1}]},
            "would never have its full weight",
        ),
    ],
)
def test_contradictions(data, tmp_path, distill, message):
    with pytest.raises(ConfigError, match=message):
        run(config(data, tmp_path, **distill))


def test_a_teacher_without_a_method(data, tmp_path):
    paths = (make_teacher(tmp_path / "a.safetensors"), make_teacher(tmp_path / "b.safetensors"))
    given = config(data, tmp_path, paths, methods=[{"name": "fgd", "teacher": 1}])
    with pytest.raises(ConfigError, match="no method is bound to teacher 2"):
        run(given)


def test_pseudo_boxes_need_common_classes(data, tmp_path):
    path = make_teacher(tmp_path / "t.safetensors", ["cow", NAMES[1]])
    make_scenes(tmp_path / "more", 3, ((64, 64),))
    more = {"images": str(tmp_path / "more"), "methods": [{"name": "fgd"}]}
    with pytest.raises(ConfigError, match="can draw no pseudo-boxes"):
        run(config(data, tmp_path, path, **more))
    mapped = config(data, tmp_path, path, classes="by-name", **more)
    assert make_setup(mapped.distill, NAMES).columns == ((-1, 1),)


def test_a_weight_is_split_between_the_teachers_that_an_image_hears(data, tmp_path):
    paths = (make_teacher(tmp_path / "a.safetensors"), make_teacher(tmp_path / "b.safetensors"))

    def distillation(combine):
        methods = [
            {"name": "fgd", "weight": 3.0},
            {"name": "pkd", "weight": 3.0, "teacher": 2},
            {"name": "bckd"},
            {"name": "logits", "teacher": 1},
        ]
        given = config(data, tmp_path, paths, methods=methods, combine=combine, ratio=6.0)
        return make_setup(given.distill, NAMES)

    average, pick = distillation("average"), distillation("pick")
    fixed = ("fgd@1", "fgd@2", "pkd@2")
    assert [average.weights[name] for name in fixed] == [1.5, 1.5, 3.0]
    assert [pick.weights[name] for name in fixed] == [3.0, 3.0, 3.0]
    assert average.shares == {"bckd@1": 2.0, "logits@1": 2.0, "bckd@2": 2.0}
    assert pick.shares == {"bckd@1": 3.0, "logits@1": 3.0, "bckd@2": 6.0}
