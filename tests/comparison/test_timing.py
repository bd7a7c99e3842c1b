"""Steps that all arms take in turn."""

import math
from itertools import count
from types import SimpleNamespace

import pytest
import torch

from tests.comparison.small_comparisons import plan
from tests.run.small_runs import settings
from tutelage.comparison import timing
from tutelage.comparison.timing import (
    ArmTiming,
    Timing,
    epochs_of,
    in_turn,
    paired_ratio,
    read_timing,
    run_ratio,
    steps_of,
    time_arms,
    timed_config,
)
from tutelage.errors import UserError
from tutelage.sanitise import json_values
from tutelage.training.loop import BatchDone, EpochEnded

TIMED = ArmTiming(2.4, 1.05)


def config(distill=None, **train):
    return settings(
        "d.yaml", "runs", train={"epochs": 40} | train, distill={"views": 4} | (distill or {})
    )


def test_each_takes_a_step_when_it_is_its_turn():
    order = []

    def steps(name, seconds):
        for number in count():
            order.append((name, number))
            yield seconds * (number + 1)

    times = in_turn({"a": steps("a", 1.0), "b": steps("b", 3.0)}, 2, warm_up=1)
    assert order == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert times == {"a": [2.0, 3.0], "b": [6.0, 9.0]}
    assert paired_ratio(times["b"], times["a"]) == 3.0
    assert paired_ratio([10.0, 6.0, 4.0], [1.0, 3.0, 2.0]) == 2.0


def test_a_step_is_timed_with_its_batch_and_without_the_turns_of_others(monkeypatch):
    now = [0.0]

    def fit(*_, **__):
        for event in (BatchDone(0, 1, None, None), EpochEnded(0), BatchDone(1, 1, None, None)):
            now[0] += 1.0
            yield event

    monkeypatch.setattr(timing, "fit", fit)
    parts = SimpleNamespace(
        config=config(),
        accelerator=SimpleNamespace(device=torch.device("cpu")),
        schedule=SimpleNamespace(seed=0),
        **dict.fromkeys(["task", "supervision", "optimizer", "ema", "loader", "stride"]),
    )
    steps = steps_of(parts, lambda: now[0])
    assert next(steps) == 1.0
    now[0] += 100.0
    assert next(steps) == 2.0  # with the end of the epoch


def test_a_whole_run():
    assert run_ratio(TIMED, config(), 40) == pytest.approx((40 + 4 * 1.4 + 36 * 0.05) / 40)
    assert run_ratio(TIMED, config(epochs=20), 40) == pytest.approx((20 + 5.6 + 16 * 0.05) / 40)
    stops = config({"stop_epoch": 3})
    assert run_ratio(TIMED, stops, 40) == pytest.approx((40 + 3 * 1.4) / 40)
    always = ArmTiming(2.4, None)
    assert run_ratio(always, config(), 40) == pytest.approx(2.4)
    assert run_ratio(always, config({"views": "off", "every": 2}), 40) == pytest.approx(1.7)


def test_settings_in_which_every_step_teaches(tmp_path):
    distill = {
        "warmup_epochs": 3,
        "stop_epoch": 30,
        "every": 2,
        "methods": [{"name": "fgd", "stop_epoch": 2, "alpha": 0.5}, {"name": "cwd", "weight": 5}],
    }
    found = timed_config(config(distill), 2, tmp_path)
    fgd, cwd = found.distill.methods
    assert (fgd.weight, fgd.stop_epoch, fgd.options, cwd.weight) == (1, None, {"alpha": 0.5}, 5)
    assert (found.distill.views, found.distill.every, found.distill.stop_epoch) == (2, 1, None)
    assert (found.distill.warmup_epochs, found.train.epochs) == (0, 2)
    assert (found.distill.store, found.augment.close_mosaic) == (str(tmp_path), 0)
    off = timed_config(config({"views": "off", "store": "off"}), 2, tmp_path).distill
    assert (off.views, off.store) == ("off", "off")
    assert epochs_of(20, images=8, batch=4) == math.ceil((timing.WARM_UP + 20) / 2)


def test_it_is_kept():
    timed = Timing({"fgd": TIMED, "crosskd": ArmTiming(3.0, None)}, 20, "cpu", 1)
    assert read_timing({"timing": json_values(timed)}) == timed
    assert read_timing({"timing": None}) is read_timing({}) is None
    arms = [SimpleNamespace(methods=each) for each in ("", "fgd")]
    assert timed.of(arms) == timed.arms
    assert timed.of([*arms, SimpleNamespace(methods="pkd")]) is None


def returned(generator, into):
    into.append((yield from generator))


def test_the_teacher_is_asked_in_all_steps_then_in_none(world, tmp_path, monkeypatch):
    comparison = plan(
        world, tmp_path, methods=("bckd:weight=1", "box", "crosskd:weight=1"), train={"epochs": 4}
    )
    comparison.folder.mkdir()
    monkeypatch.setattr(timing, "WARM_UP", 0)
    asked, measured = [], timing.in_turn

    def watched(steps, number):
        times = measured(steps, number, 0)
        asked.append([p.supervision.teachers.take_cost()["asked"] for p in parts if p.supervision])
        return times

    parts, build = [], timing.build_run
    monkeypatch.setattr(timing, "in_turn", watched)
    monkeypatch.setattr(
        timing, "build_run", lambda *a, **o: parts.append(build(*a, **o)) or parts[-1]
    )
    found = []
    list(returned(time_arms(comparison, {}, steps=3), found))
    [found] = found
    assert asked == [[1.0, 1.0, 1.0], [0.0, 0.0, 1.0]]
    assert list(found.arms) == [arm.methods for arm in comparison.arms if arm.methods]
    assert [each.stored is None for each in found.arms.values()] == [False, False, True]
    assert (found.steps, found.device) == (3, "cpu")
    assert not list(comparison.folder.iterdir())


def test_an_arm_that_cannot_be_built(world, tmp_path):
    comparison = plan(world, tmp_path)
    arms = [
        arm._replace(
            config=arm.config.model_copy(
                update={"distill": arm.config.distill.model_copy(update={"teacher": "none.pt"})}
            )
        )
        for arm in comparison.arms
    ]
    comparison = comparison._replace(arms=tuple(arms))
    comparison.folder.mkdir()
    with pytest.raises(UserError, match="none"):
        list(time_arms(comparison, {}))
    assert not list(comparison.folder.iterdir())
