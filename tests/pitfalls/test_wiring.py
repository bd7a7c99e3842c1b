"""KD-01 to KD-10: the loss is 0 or constant."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tests.distill.fake_networks import NO_BOXES, SIZE
from tests.setup.small_tasks import make_batch, make_task
from tests.training.runs import make_run
from tutelage.distill.methods import FGD
from tutelage.run.events import EpochDone
from tutelage.run.metrics import LossMeans
from tutelage.run.monitors.kd_losses import ConstantTermMonitor
from tutelage.structures import Knowledge, Losses
from tutelage.training.loop import fit
from tutelage.training.schedule import Schedule
from tutelage.training.supervision import SupervisedBatch

BATCH = make_batch()


class Wrapper(nn.Module):
    """Renames everything inside, as DDP and torch.compile do."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, *args):
        return self.module(*args)


def test_kd01_wrappers_do_not_lose_the_taps():
    task, teacher = make_task()
    wrapped = Wrapper(Wrapper(task))
    assert all(name.startswith("module.module.") for name, _ in wrapped.named_parameters())
    terms = wrapped(SupervisedBatch(BATCH, teacher(BATCH))).distillation
    assert len(terms) == 4
    assert all(value > 0 for value in terms.values())


def test_kd02_the_first_step_has_every_term_of_every_method():
    first = next(fit(*make_run(Schedule(epochs=1, steps=4, batch=2))))
    names = {"foreground", "background", "attention", "relation"}
    assert set(first.losses.distillation) == {f"fgd/{name}" for name in names}
    assert all(value > 0 for value in first.losses.distillation.values())


def test_kd03_a_weight_adds_exactly_its_term():
    task, teacher = make_task()
    task.eval()
    schedule, known = Schedule(epochs=1, steps=1, batch=2), teacher(BATCH)
    alone = SimpleNamespace(num_processes=1, gradient_accumulation_steps=1)
    totals = []
    for weight in (1.0, 2.0):
        task.weights["fgd"] = weight
        losses = task(SupervisedBatch(BATCH, known))
        totals.append(schedule.objective(losses, BATCH, alone, 0, 0))
    term = sum(losses.distillation.values()) / 2.0
    assert (totals[1] - totals[0]).item() == pytest.approx(term.item() * 2, rel=1e-4)  # 2 images


def test_kd04_means_are_over_all_processes():
    means = LossMeans()
    means.add(Losses({"box": torch.tensor(1.0)}, {"fgd/relation": torch.tensor(2.0)}))
    other = {"fgd/relation": 6.0, "box": 3.0}
    assert means.take(lambda here: [*here, other]) == {"box": 2.0, "fgd/relation": 4.0}
    assert means.take() == {}


def test_kd04_every_term_is_logged_with_its_weight_and_never_as_zero(distilled):
    for row in distilled.metrics[:2]:
        assert sum(name.startswith("fgd/") and value > 0 for name, value in row.items()) == 4
        assert row["kd_weights"] == {"fgd": 2.0}
    assert not any("/" in name for name in distilled.metrics[2])


def heard(watcher, epochs):
    """Return what a watcher says of means of three terms, epoch by epoch."""
    return [
        watcher.check(EpochDone(epoch, dict(losses), 1.0, 0.01))
        for epoch, losses in enumerate(epochs)
    ]


def test_kd05_a_term_that_does_not_move_is_told():
    moving = [{"box": 1.0, "fgd/relation": 2.0 - e / 1000, "fgd/foreground": 0.5} for e in range(3)]
    first, second, third = heard(ConstantTermMonitor({"fgd": 1.0}), moving)
    assert first is second is None
    assert third.level == "warning"
    assert third.text.startswith("fgd/foreground did not change over 3 epochs")


def test_kd05_a_new_weight_is_no_movement():
    weights = {"fgd": 1.0}
    watcher, said = ConstantTermMonitor(weights), []
    for epoch, weight in enumerate((1.0, 3.0, 0.5)):
        weights["fgd"] = weight
        said.append(watcher.check(EpochDone(epoch, {"fgd/relation": 0.2 * weight}, 1.0, 0.01)))
    assert said[2] is not None


def test_kd07_a_map_that_is_only_wider_is_not_resized():
    student, teacher = (Knowledge((torch.rand(1, 4, 6, width),)) for width in (10, 11))
    with pytest.raises(ValueError, match=r"pair 0: the student's grid is \(6, 10\).*\(6, 11\)"):
        FGD([(4, 4)])(student, teacher, NO_BOXES, SIZE)


def test_kd09_other_forward_passes_leave_nothing_behind():
    task, teacher = make_task()
    task.eval()
    known = teacher(BATCH)
    before = task(SupervisedBatch(BATCH, known)).distillation
    assert len(before) == 4
    twin = copy.deepcopy(task.student)  # what an EMA is
    twin(torch.rand(1, 3, 96, 96), task.taps)
    task.student(torch.rand(1, 3, 96, 96), task.taps)  # what validation does
    after = task(SupervisedBatch(BATCH, known)).distillation
    assert all(torch.equal(after[name], value) for name, value in before.items())
