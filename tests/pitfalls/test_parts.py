"""KD-19 to KD-26: trainable parts of a method."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tests.setup.small_tasks import make_batch, make_task
from tests.training.runs import make_run
from tutelage.errors import TeacherError, TrainingError, WeightsError
from tutelage.run.checkpoint import RunCheckpoint, restore
from tutelage.run.monitors.rank_checksums import check_ranks
from tutelage.run.preflight.wiring import check_wiring
from tutelage.training.loop import fit
from tutelage.training.schedule import Schedule

BATCH = make_batch()


def check(task, teacher):
    check_wiring(task, teacher, BATCH)


@pytest.mark.parametrize(
    ("hide", "place"),
    [
        (lambda m, own: setattr(m, "aligners", [nn.Identity(), own]), r"fgd\.aligners"),
        (lambda m, own: setattr(m, "_by_level", {"p3": (own,)}), r"fgd\._by_level"),
        (lambda m, own: setattr(m.levels[0], "scales", [own.weight]), r"fgd\.levels\.0\.scales"),
    ],
)
def test_kd19_modules_in_plain_lists_are_found(hide, place):
    task, teacher = make_task()
    hide(task.methods["fgd"], nn.Conv2d(2, 2, 1))
    with pytest.raises(TeacherError, match=place + " is in a plain list or dict"):
        check(task, teacher)


def test_kd19_what_is_registered_or_frozen_may_be_listed_too():
    task, teacher = make_task()
    method = task.methods["fgd"]
    method.again = [list(method.connectors)]
    method.frozen = [nn.Conv2d(2, 2, 1).requires_grad_(False)]
    check(task, teacher)


def test_kd21_the_groups_of_the_methods_are_in_the_plan(distilled):
    [line] = [text for _, text in distilled.plan if "parameters of their own" in text]
    assert "kd-plain (decay 0)" in line
    assert "kd-weight (decay 0.0005)" in line
    assert "without bias warm-up" in line


def ranks(*others):
    """Return an accelerator of several processes; the others report these checksums."""

    def gather(mine):
        return torch.cat([mine, *(mine + shift for shift in others)])

    return SimpleNamespace(num_processes=1 + len(others), device="cpu", gather=gather)


def test_kd22_processes_that_drifted_apart_are_stopped():
    methods = make_task()[0].methods
    when = "after epoch 3"
    assert check_ranks(ranks(0, 0), methods, when) is None
    with pytest.raises(TrainingError, match="differ between processes after epoch 3"):
        check_ranks(ranks(0, 1), methods, when)


def test_kd22_the_checksum_sees_one_parameter():
    methods, sums = make_task()[0].methods, []
    noting = SimpleNamespace(
        num_processes=2, device="cpu", gather=lambda mine: sums.append(int(mine)) or mine
    )
    for change in (0.0, 0.0, 1e-6):
        with torch.no_grad():
            next(methods.parameters()).flatten()[0] += change
        check_ranks(noting, methods, "now")
    assert sums[0] == sums[1] != sums[2]


def test_kd23_connectors_are_clipped_with_the_student():
    moved = []
    for limit in (0.0, 1e-4):  # 0: off
        run = make_run(Schedule(epochs=1, steps=4, batch=2, nominal_batch=2, max_norm=limit))
        own = list(run[1].methods.parameters())
        before = [p.detach().clone() for p in own]
        next(fit(*run))
        moved.append(
            max(float((p.detach() - b).abs().max()) for p, b in zip(own, before, strict=True))
        )
    assert moved[0] > 5 * moved[1] > 0


def test_kd24_a_checkpoint_without_the_methods_is_refused():
    accelerator, task, _, optimizer, ema, *_ = make_run(Schedule(epochs=1, steps=4, batch=2))
    whole = task.state_dict()
    state = {
        "task": {key: value for key, value in whole.items() if not key.startswith("methods.")},
        "ema": ema.state_dict(),
        "optimizer": optimizer.state_dict(),
        "weights": {"fgd": 1.0},
        "balance": {"fgd": [1.0, 0.5, 0.25]},
        "scaler": None,
        "position": [1, 0],
        "progress": {
            "best": 0.1, "best_epoch": 0, "best_scores": {}, "readings": [], "threads": 1
        },
        "config": "",
    }  # fmt: skip
    parts = SimpleNamespace(
        accelerator=accelerator, unwrapped_task=task, optimizer=optimizer, ema=ema
    )
    with pytest.raises(WeightsError, match=r"does not fit the config\.yaml beside it"):
        restore(RunCheckpoint(**state), parts)
    assert restore(RunCheckpoint(**state | {"task": whole}), parts) == (1, 0)
    assert task.balance() == {"fgd": [1.0, 0.5, 0.25]}


class Residual(nn.Module):
    """A connector with a block added to what it is given."""

    def __init__(self, inner):
        super().__init__()
        width = inner.project.in_channels
        self.inner = inner
        self.block = nn.Sequential(
            nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, width, 1)
        )

    def forward(self, x):
        return self.inner(x + self.block(x))


def test_kd26_a_block_that_starts_with_zeros_everywhere_is_found():
    """One zero layer at the end is a good start; two after each other never train."""
    task, teacher = make_task()
    method = task.methods["fgd"]
    method.connectors[0] = Residual(method.connectors[0])
    first, _, last = method.connectors[0].block
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    check(task, teacher)
    for parameter in first.parameters():
        nn.init.zeros_(parameter)
    with pytest.raises(TeacherError, match=r"fgd\.connectors\.0\.block\.0\.weight does not train"):
        check(task, teacher)
