"""When the weights of the methods are measured, on what, and what is told."""

from types import SimpleNamespace

import pytest
import torch

from tests.run.small_runs import CHECKPOINT, make_data, run, settings
from tests.setup.small_tasks import make_batch
from tutelage.run import kd_weights as module
from tutelage.run.events import Notice, Stage
from tutelage.run.kd_weights import (
    SHOWN,
    WeightMeasurements,
    as_measured,
    batches_with_boxes,
    combine,
    due_steps,
    measurement_batch,
)
from tutelage.run.preflight import before_training
from tutelage.setup.build import build_run
from tutelage.training.gradient_ratio import WeightReading
from tutelage.training.schedule import Position, Schedule

COUNT = 16


class FakeLoader(list):
    """Batches that can be gone through several times."""

    batch_sampler = SimpleNamespace(set_epoch=lambda epoch: None)


def means(batches):
    """The mean brightness of every batch: enough to tell batches apart."""
    return {float(batch.images.float().mean()) for batch in batches}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readings")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUTELAGE_CACHE", str(folder / "cache"))
        distill = {"teacher": str(CHECKPOINT), "accept_teacher": True, "views": "off"}
        return build_run(
            settings(make_data(folder / "d"), folder, train={"epochs": 10}, distill=distill)
        )


def test_often_at_first_then_ever_further_apart_up_to_the_middle():
    long = Schedule(epochs=100, steps=10, batch=4, warmup_steps=40)
    assert due_steps(long) == (10, 20, 40, 80, 160, 300, 400, 500)
    short = Schedule(epochs=10, steps=10, batch=4, warmup_steps=33)  # nothing shortly before 30
    assert due_steps(short) == (8, 16, 30, 40, 50)
    no_warmup = Schedule(epochs=64, steps=10, batch=4)
    assert due_steps(no_warmup) == (10, 20, 40, 80, 192, 256, 320)
    assert due_steps(Schedule(epochs=1, steps=1, batch=4)) == ()


def test_a_small_set_is_gone_through_until_there_are_enough_batches(parts):
    batches = list(batches_with_boxes(parts, COUNT))
    assert len(batches) == COUNT > len(parts.loader)
    assert all(len(batch.targets.label) for batch in batches)
    assert len(means(batches)) == COUNT  # augmented in another way each time
    assert means(batches_with_boxes(parts, COUNT)) == means(batches)
    assert not means(batches_with_boxes(parts, COUNT, 1)) & means(batches)


def test_batches_without_boxes_are_passed_over(parts, monkeypatch):
    loader = FakeLoader([make_batch(boxes=0), make_batch(seed=1), make_batch(boxes=0)])
    monkeypatch.setattr(module, "make_training_loader", lambda *_, **__: loader)
    batches = list(batches_with_boxes(parts, 2))
    assert len(batches) == 2
    assert all(len(batch.targets.label) for batch in batches)


def test_they_see_other_pictures_than_the_first_epoch(parts):
    parts.loader.set_epoch(0)
    assert not means(parts.loader) & means(batches_with_boxes(parts, SHOWN))


def test_views_are_those_of_the_run(tmp_path):
    """So that no answer of the teacher is asked for a measurement alone."""
    distill = {"teacher": str(CHECKPOINT), "accept_teacher": True, "views": 2}
    data = make_data(tmp_path / "d")
    parts = build_run(settings(data, tmp_path, train={"epochs": 4}, distill=distill))
    for epoch in (0, 1):
        parts.loader.set_epoch(epoch)
        shown = means(parts.loader)
        measured = means(batches_with_boxes(parts, len(parts.loader), 3, first_epoch=epoch))
        assert measured <= shown


def test_readings_after_the_first_count_half_until_the_balance_moves():
    assert combine(8.0, None) == (8.0, 0)
    assert combine(5.0, {"weight": 8.0, "count": 0}) == (5.0, 1)  # not the first
    weight, count = combine(7.2, {"weight": 5.0, "count": 1})
    assert (weight, count) == (pytest.approx(6.0), 2)
    assert combine(3.375, {"weight": weight, "count": 2}) == (pytest.approx(4.5), 3)
    assert combine(2.9, {"weight": 6.0, "count": 2}) == (2.9, 1)


def test_the_weight_is_set_told_and_kept(parts, monkeypatch):
    found, used = iter([2.0, 3.0, 0.5, 0.72]), []

    def measure(task, teacher, batches, *_):
        used.append(means(batches))
        return WeightReading({"fgd": next(found)}, {"fgd": [1.0, 2.0]})

    monkeypatch.setattr(module, "measure_weights", measure)
    monkeypatch.setattr(module, "IMAGES", 2 * parts.config.train.batch)
    readings = WeightMeasurements(parts)
    assert len(readings.batches) == SHOWN
    steps = parts.schedule.steps
    due = [(e, s) for e in range(10) for s in range(1, steps + 1) if readings.due(e, s)]
    assert [e * steps + s for e, s in due] == list(due_steps(parts.schedule))
    levels = []
    for epoch, step in ((0, 0), (3, 1), (4, 1), (5, 1)):
        levels += [
            n.level
            for n in readings.measure(parts.distillation, Position(epoch, step), "now")
            if isinstance(n, Notice)
        ]
    assert levels == ["info", "info", "warning", "info"]  # 3 to 0.5 is more than twofold
    assert parts.unwrapped_task.weights["fgd"] == pytest.approx(0.6)
    weights = [entry["fgd"]["weight"] for entry in readings.history]
    assert weights == pytest.approx([2.0, 3.0, 0.5, 0.6])
    assert [entry["fgd"]["measured"] for entry in readings.history] == [2.0, 3.0, 0.5, 0.72]
    assert all(len(batches) == 2 for batches in used)
    assert not set.intersection(*used)  # every reading sees other batches


def test_a_resumed_run_keeps_the_ratio_with_which_it_began():
    stored = {"epoch": 1, "fgd": {"share": 2.5, "measured": 9.0, "ratio_quartiles": [1, 1, 1]}}
    earlier = {"epoch": 1, "fgd": {"measured": 0.5, "ratio_quartiles": [3.0, 4.0003, 5.0]}}
    assert as_measured({"fgd": 5.0}, []) == {"fgd": 5.0}
    assert as_measured({"fgd": 5.0}, [earlier, stored]) == {"fgd": 2.5}
    assert as_measured({"fgd": 5.0, "cwd": 3.0}, [earlier]) == {"fgd": 2.0, "cwd": 3.0}
    assert as_measured({"fgd": 5.0}, [{"epoch": 0, "fgd": {"weight": 1.0}}]) == {"fgd": 5.0}


def test_a_resumed_run_measures_what_is_left(parts):
    readings = WeightMeasurements(parts, [{"epoch": 0}], Position(3, 0))
    assert len(readings.batches) == SHOWN  # for the pre-flight
    assert not any(readings.due(e, s) for e in range(3) for s in range(1, parts.schedule.steps + 1))
    assert any(readings.due(e, s) for e in range(3, 10) for s in range(1, parts.schedule.steps + 1))
    assert not WeightMeasurements(parts, [{"epoch": 0}], Position(9, 0)).due(9, 1)


def test_a_reading_takes_no_more_images_than_there_are(parts):
    assert WeightMeasurements(parts).images == len(parts.train) == 8
    old = [{"epoch": 0, "step": 0}]  # goes on to the same bits
    assert WeightMeasurements(parts, old, Position(3, 0)).images == module.IMAGES
    assert WeightMeasurements(parts, [{"epoch": 0, "images": 5}], Position(3, 0)).images == 5


def test_it_is_told_which_of_how_many_readings_is_under_way(parts, monkeypatch):
    used = []

    def measure(task, teacher, batches, *_):
        used.append(len(list(batches)))
        return WeightReading({"fgd": 2.0}, {"fgd": [1.0]})

    monkeypatch.setattr(module, "measure_weights", measure)
    readings = WeightMeasurements(parts)
    stages = [
        event.text
        for _ in range(2)
        for event in readings.measure(parts.distillation, Position(), "now")
        if isinstance(event, Stage)
    ]
    total = 1 + len(due_steps(parts.schedule))
    assert stages == [f"measuring weights 1/{total}", f"measuring weights 2/{total}"]
    assert used == [2, 2]  # eight images, four a batch
    assert [entry["images"] for entry in readings.history] == [8, 8]


def test_the_balance_follows_the_rule_of_the_weight(parts):
    readings = WeightMeasurements(parts)
    readings.history = [{"fgd": {"balance": [1.0, 0.5, 1e-4], "count": 2}}]
    settled = readings._settle("fgd", [0.9, 1.0, 0.3])
    first, second = 0.9**0.5, 0.5**0.5
    # The last map was clamped: what is read now replaces it.
    assert settled == pytest.approx([1.0, second / first, 0.3 / first])


def test_a_reading_takes_no_more_memory_than_a_step(parts):
    class Many(SimpleNamespace):
        config, accelerator = parts.config, SimpleNamespace(num_processes=2)

    assert measurement_batch(parts) == 4
    assert measurement_batch(Many()) == 2


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_checks_and_readings_have_the_precision_of_training(tmp_path, monkeypatch, precision):
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    seen = {}
    for owner, name in ((module, "measure_weights"), (before_training, "check_wiring")):
        call = getattr(owner, name)

        def recorded(task, *rest, name=name, call=call):
            hook = task.student.register_forward_hook(
                lambda _, __, output: seen.setdefault(name, set()).add(output.taps[0].dtype)
            )
            try:
                return call(task, *rest)
            finally:
                hook.remove()

        monkeypatch.setattr(owner, name, recorded)
    distill = {"teacher": str(CHECKPOINT), "accept_teacher": True, "methods": [{"name": "fgd"}]}
    train = {"precision": precision, "epochs": 4}
    run(settings(make_data(tmp_path / "d"), tmp_path, train=train, distill=distill))
    used = {torch.bfloat16 if precision == "bf16" else torch.float32}
    assert seen == {"measure_weights": used, "check_wiring": used}
