"""When the weights of the methods are measured, on what, and what is told."""

import pytest
import torch

from tests.train.tiny import CHECKPOINT, make_data, settings
from tutelage.train import readings as module
from tutelage.train.assemble import assemble
from tutelage.train.calibrate import BATCHES, Reading
from tutelage.train.plan import Plan, Position
from tutelage.train.readings import SHOWN, Readings, due_steps, first_batches


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readings")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUTELAGE_CACHE", str(folder / "cache"))
        distill = {"teacher": str(CHECKPOINT), "accept_teacher": True}
        return assemble(
            settings(make_data(folder / "d"), folder, train={"epochs": 10}, distill=distill)
        )


def test_at_the_end_of_warm_up_and_twice_later():
    assert due_steps(Plan(epochs=10, steps=10, batch=4, warmup_steps=30)) == (25, 30, 50)
    assert due_steps(Plan(epochs=10, steps=10, batch=4)) == (25, 50)
    assert due_steps(Plan(epochs=1, steps=1, batch=4)) == ()


def test_a_small_set_is_gone_through_until_there_are_enough_batches(parts):
    batches = first_batches(parts, BATCHES)
    assert len(batches) == BATCHES > len(parts.loader)
    assert all(len(batch.targets.label) for batch in batches)
    images = torch.stack([batch.images.float().mean() for batch in batches])
    assert len(images.unique()) == BATCHES  # augmented in another way each time
    again = first_batches(parts, BATCHES)
    assert all(torch.equal(a.images, b.images) for a, b in zip(batches, again, strict=True))


def test_they_see_other_pictures_than_the_first_epoch(parts):
    parts.loader.set_epoch(0)
    seen = {float(batch.images.float().mean()) for batch in parts.loader}
    assert not seen & {float(b.images.float().mean()) for b in first_batches(parts, SHOWN)}


def test_batches_are_kept_as_long_as_they_are_needed(parts, monkeypatch):
    weights = iter([2.0, 3.0, 0.5])
    monkeypatch.setattr(
        module, "measure", lambda *_: Reading({"fgd": next(weights)}, {"fgd": [1.0, 2.0]})
    )
    readings = Readings(parts)
    steps = parts.plan.steps
    due = [(e, s) for e in range(10) for s in range(1, steps + 1) if readings.due(e, s)]
    assert [e * steps + s for e, s in due] == list(due_steps(parts.plan))
    levels = []
    for epoch, step in ((0, 0), due[0], due[-1]):
        assert len(readings.batches) == BATCHES
        levels += [n.level for n in readings.take(parts.teaching, Position(epoch, step), "now")]
    assert levels == ["info", "info", "warning"]  # 3 to 0.5 is more than twofold
    assert readings.batches == []
    assert parts.bare.weights["fgd"] == 0.5
    assert [entry["fgd"]["weight"] for entry in readings.history] == [2.0, 3.0, 0.5]


def test_a_resumed_run_measures_what_is_left(parts):
    middle = Position(3, 0)
    readings = Readings(parts, [{"epoch": 0}], middle)
    assert len(readings.batches) == BATCHES
    assert not any(readings.due(e, s) for e in range(3) for s in range(1, parts.plan.steps + 1))
    late = Readings(parts, [{"epoch": 0}], Position(9, 0))
    assert len(late.batches) == SHOWN  # for the pre-flight
    assert not late.due(9, 1)
