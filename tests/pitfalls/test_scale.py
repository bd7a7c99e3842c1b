"""KD-27 to KD-34: the scale of the loss."""

import pytest

from tutelage.errors import TrainingError
from tutelage.run.events import EpochDone
from tutelage.run.monitors.kd_losses import LossShareMonitor
from tutelage.training.schedule import Schedule

PLAN = Schedule(epochs=10, steps=50, batch=8, warmup_steps=60)  # readings up to step 250


def see(share, epoch, *, fixed=True, plan=PLAN):
    """Return what is said of a method that adds ``share`` times the detection loss."""
    watcher = LossShareMonitor({"mgd": 2e-5}, {"mgd"} if fixed else set(), plan)
    losses = {"box": 0.5, "obj": 1.0, "cls": 0.5, "mgd/feature": 2.0 * share}
    return watcher.check(EpochDone(epoch, losses, 1.0, 0.01))


@pytest.mark.parametrize("share", [5e-5, 500.0])
def test_kd28_a_fixed_weight_for_another_reduction_ends_the_run(share):
    with pytest.raises(TrainingError, match=r"mgd adds 5e.\d\d times .*\(weight 2e-05\)"):
        see(share, 2)
    assert see(share, 1) is None  # within warm-up
    assert see(share, 0, plan=PLAN._replace(steps=99, warmup_steps=0)).level == "warning"


@pytest.mark.parametrize(
    ("share", "warned"), [(0.005, True), (0.02, False), (8, False), (12, True)]
)
def test_kd28_kd30_an_unusual_share_is_told(share, warned):
    said = see(share, 2)
    assert (said is not None) == warned
    if said is not None:
        assert said.level == "warning"
        assert f"mgd adds {share:.2g} times the detection loss" in said.text


@pytest.mark.parametrize("share", [5e-5, 500.0])
def test_kd28_kd30_a_measured_weight_is_judged_once_it_is_frozen(share):
    assert see(share, 4, fixed=False) is None
    assert see(share, 5, fixed=False).level == "warning"


@pytest.mark.parametrize("share", [0.005, 30.0])
def test_kd30_a_measured_weight_may_make_another_share(share):
    """Its gradient is what was asked for; how large the loss then is, the formula decides."""
    assert see(share, 5, fixed=False) is None
    assert see(share, 5).level == "warning"


def test_kd30_it_is_told_once_per_method_of_the_sum_of_its_terms():
    watcher = LossShareMonitor({"a": 1.0, "b": 1.0}, {"a", "b"}, PLAN)
    losses = {"box": 1.0, "a/x": 6.0, "a/y": 6.0, "b/x": 1.0}
    said = [watcher.check(EpochDone(epoch, losses, 1.0, 0.01)) for epoch in (2, 3)]
    assert "a adds 12 times" in said[0].text
    assert "b adds" not in said[0].text
    assert said[1] is None


def test_kd31_the_plan_holds_the_formula_of_the_loss(distilled):
    plan = dict(distilled.plan)
    assert plan["loss"] == "(Σ detection + Σ kd · distillation) × batch"
    assert plan["methods"] == "fgd × 2 · constant, stops at epoch 2"


def test_kd33_the_factor_of_the_schedule_is_logged_every_epoch(distilled):
    assert [row["kd"] for row in distilled.metrics] == [{"fgd": 1.0}, {"fgd": 1.0}, {"fgd": 0.0}]


def test_kd34_a_term_that_was_not_computed_is_not_there(distilled):
    names = [{name for name in row if "/" in name} for row in distilled.metrics]
    assert len(names[0]) == len(names[1]) == 4
    assert not names[2]
