"""What the plan says of the teacher's cost."""

import pytest

from tests.data.write_dataset import make_scenes
from tests.run.small_runs import make_data, make_teacher, settings
from tutelage.models.cost import cost
from tutelage.run.kd_weights import due_steps
from tutelage.run.predicted_cost import (
    ASKING,
    TEACHING,
    WEIGHING,
    epochs_asked,
    predicted_cost,
)
from tutelage.run.summary import plan_rows
from tutelage.setup.build import build_run

IMAGES = 8


@pytest.fixture
def make(tmp_path):
    data, teacher = make_data(tmp_path / "data"), make_teacher(tmp_path / "t.safetensors")

    def make(method="bckd", weight=1.0, augment=None, **distill):
        distill = {
            "teacher": teacher,
            "methods": [{"name": method, "weight": weight}],
            "accept_teacher": True,
        } | distill
        config = settings(
            data,
            tmp_path,
            train={"epochs": 40},
            distill=distill,
            augment={"close_mosaic": 0, **(augment or {})},
        )
        return build_run(config, stores=True, keep_threads=True)

    return make


def views_row(parts):
    for record in parts.distillation.records:
        record["scores"] = None
    return dict(plan_rows(parts, {}, "run"))["views"]


def ratio(parts):
    [teacher] = parts.distillation.teachers.teachers
    return cost(teacher.network, 64).gflops / (3 * cost(parts.student, 64).gflops)


def store(parts, views, images=range(IMAGES)):
    """Store that many answers about labelled images as if they had been asked."""
    [memory] = parts.distillation.teachers.memories
    memory.labelled.append([(view, image, b"record") for view in views for image in images])


def test_what_is_not_stored_is_asked(make):
    parts = make()
    each = ASKING * ratio(parts) / 40
    assert epochs_asked(parts) == {0: 4.0}
    assert predicted_cost(parts).share == pytest.approx(4 * each + TEACHING)
    percent = f"about {100 * predicted_cost(parts).share:.0f} % on top of a plain run (estimate)"
    assert "· 4 of 40 epochs ask the teacher, which adds about 0.0" in views_row(parts)
    assert percent in views_row(parts)
    store(parts, (0, 1))
    store(parts, (2,), range(4))
    parts = make()
    assert epochs_asked(parts) == {0: 1.5}
    assert predicted_cost(parts).share == pytest.approx(1.5 * each + TEACHING)
    told = "1.5 of 40 epochs ask the teacher, since 20 of 32 answers are stored already"
    assert told in views_row(parts)
    store(parts, (2, 3))
    parts = make()
    assert predicted_cost(parts).share == pytest.approx(TEACHING)
    assert "all answers are stored: no teacher is asked · about 2 %" in views_row(parts)


def test_methods_that_are_weighed(make):
    weighed, fixed = make(weight="auto"), make()
    times = 1 + len(due_steps(weighed.schedule))
    extra = predicted_cost(weighed).share - predicted_cost(fixed).share
    assert extra == pytest.approx(times * WEIGHING / 40)
    assert "weighing" not in views_row(weighed)  # the teacher is asked as well
    store(weighed, range(4))
    told = (
        "no teacher is asked · about 6 % on top of a plain run (estimate, most of it for weighing"
    )
    assert told in views_row(make(weight="auto"))


def test_those_that_ask_in_all_epochs(make):
    off = make(views="off")
    assert predicted_cost(off).share == pytest.approx(ASKING * ratio(off) + TEACHING)
    every = make(views="off", every=2)
    assert predicted_cost(every).share == pytest.approx(predicted_cost(off).share / 2)
    assert "(distill.views is off) · about" in views_row(off)
    live = make("crosskd", views=4, stop_epoch=10)
    assert predicted_cost(live).share == pytest.approx((ASKING * ratio(live) + TEACHING) / 4)
    assert "these methods ask the teacher in all epochs · about" in views_row(live)


def test_images_without_labels_that_never_come(make, tmp_path):
    make_scenes(tmp_path / "more", 7)
    parts = make(images=str(tmp_path / "more"), images_ratio=0.25)
    # each epoch begins a round and skips one: views 0 and 2 come, two images at a time
    assert epochs_asked(parts) == {0: 7.0}
    assert "of 28 views of images without labels 14 are shown" in views_row(parts)
    assert "are shown" not in views_row(make())


def test_an_unknown_teacher_is_not_estimated(make):
    parts = make()
    parts.distillation.teachers.teachers = (object(),)
    assert predicted_cost(parts) is None
