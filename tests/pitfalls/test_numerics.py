"""KD-35 to KD-40: numerics."""

from math import inf
from types import SimpleNamespace

import pytest
import torch
from accelerate.optimizer import AcceleratedOptimizer
from torch import nn

from tests.pitfalls.before_training import warnings_before_training
from tests.run.small_runs import CHECKPOINT, settings
from tests.setup.small_tasks import make_task
from tutelage.run.events import EpochDone, StepDone
from tutelage.run.monitors.skipped_steps import SkippedStepMonitor
from tutelage.run.preflight.warnings import dead_channels
from tutelage.run.summary import plan_rows
from tutelage.setup.build import build_run, make_accelerator
from tutelage.structures import Losses
from tutelage.training.supervision import SupervisedBatch

STEP = StepDone(0, 1, Losses({}, {}), 0.01, None)


def skipping(skipped, steps, *, every=1):
    """Return what is said of an epoch in which the scaler left out the first steps."""
    accelerator, _ = make_accelerator("cpu", "fp32")
    accelerator.gradient_accumulation_steps = every
    net, scaler = nn.Linear(1, 1), torch.amp.GradScaler("cpu")
    optimizer = AcceleratedOptimizer(torch.optim.SGD(net.parameters(), 0.0), scaler=scaler)
    watcher = SkippedStepMonitor(SimpleNamespace(accelerator=accelerator, optimizer=optimizer))
    for number in range(steps * every):
        with accelerator.accumulate(net):
            overflowing = inf if number < skipped * every else 1.0
            scaler.scale(net.bias.sum() * overflowing).backward()
            optimizer.step()
            optimizer.zero_grad()
        assert watcher.check(STEP) is None
    said = watcher.check(EpochDone(3, {}, 1.0, 0.01))
    assert watcher.check(EpochDone(4, {}, 1.0, 0.01)) is None  # counted anew
    return said


@pytest.mark.parametrize("every", [1, 2], ids=["each batch", "accumulated"])
def test_kd35_steps_that_the_scaler_skips_are_told(every):
    said = skipping(18, 100, every=every)
    assert said.level == "warning"
    assert "18 of 100 steps of epoch 4 were skipped by the gradient scaler" in said.text


@pytest.mark.parametrize(("skipped", "steps"), [(0, 10), (8, 20), (50, 1000)])
def test_kd35_a_scaler_may_search(skipped, steps):
    assert skipping(skipped, steps) is None


def test_kd39_constant_channels_are_counted():
    map_ = torch.randn(2, 6, 5, 4)
    map_[:, 1], map_[:, 4] = 0.0, 7.5
    map_[0, 2] = 3.0  # of one image alone
    assert dead_channels(map_) == 2


def test_kd39_dead_channels_at_a_tap_are_told():
    task, teacher = make_task()
    before = {key: value.clone() for key, value in task.state_dict().items()}
    assert warnings_before_training(task, teacher) == []
    assert all(torch.equal(value, before[key]) for key, value in task.state_dict().items())
    row = teacher.teachers[0].network.model[4]
    with torch.no_grad():
        row.conv.weight[:8] = 0
    channels = teacher.teachers[0].taps[1].channels
    [text] = warnings_before_training(task, teacher)
    assert f"8 of {channels} channels of the teacher's layer 4 are constant" in text
    assert "--teacher-kd-layers" in text


@pytest.mark.parametrize("taught", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_kd40_a_teacher_changes_no_precision(distilled, tmp_path, precision, taught):
    methods = [{"name": "fgd", "weight": 1.0}]
    distill = {"teacher": str(CHECKPOINT), "methods": methods} if taught else {}
    train = {"precision": precision}
    parts = build_run(settings(distilled.data, tmp_path, train=train, distill=distill))
    assert dict(plan_rows(parts, {}, "x"))["run"].endswith(f" · {precision}")
    seen = []
    parts.student.model[0].conv.register_forward_hook(lambda _, __, out: seen.append(out.dtype))
    batch = next(iter(parts.loader)).floating()
    losses = parts.task(parts.supervision(batch) if taught else SupervisedBatch(batch))
    assert bool(losses.distillation) == taught
    assert seen == [torch.bfloat16 if precision == "bf16" else torch.float32]
