import math
from types import SimpleNamespace

import pytest
import torch

from tutelage.structures import Batch, Losses, Targets
from tutelage.training.schedule import Schedule, WeightSchedule, nominal_batch, warmup_steps

# One-cycle cosine of ten epochs to 0.1, on time (the reference repeats its first value).
COSINE = [1, 0.97798, 0.91406, 0.8145, 0.68906, 0.55, 0.41094, 0.2855, 0.18594, 0.12202]


def accelerator(accumulation=1, processes=1):
    return SimpleNamespace(gradient_accumulation_steps=accumulation, num_processes=processes)


def optimizer():
    groups = [
        {"params": [torch.nn.Parameter(torch.zeros(1))], "kind": kind, "initial_lr": 0.01}
        for kind in ("weight", "bias")
    ]
    return torch.optim.SGD(groups, lr=0.01, momentum=0.9)


def test_cosine_is_on_time():
    schedule = Schedule(epochs=10, steps=5, batch=16, lrf=0.1)
    assert [schedule.lr_factor(e) for e in range(10)] == pytest.approx(COSINE, abs=1e-5)


def test_linear_reaches_lrf_at_the_end():
    schedule = Schedule(epochs=10, steps=5, batch=16, lrf=0.2, lr_shape="linear")
    assert schedule.lr_factor(0) == 1
    assert schedule.lr_factor(10) == pytest.approx(0.2)
    assert schedule.lr_factor(5) == pytest.approx(0.6)


def test_yolox_rises_by_the_square_and_stays_in_the_closing_epochs():
    """The published function of the iteration, at whole epochs: 2 of warm-up, 3 without mosaic."""
    schedule = Schedule(
        epochs=11, steps=5, batch=64, lrf=0.05, lr_shape="yolox", warmup_steps=10, close_from=8,
        momentum=0.9, warmup_momentum=0.9, warmup_bias_lr=0.0,
    )  # fmt: skip
    found = [schedule.lr_factor(epoch) for epoch in range(11)]
    falling = [0.525 + 0.475 * math.cos(math.pi * (epoch - 2) / 6) for epoch in range(2, 8)]
    assert found == pytest.approx([1, 1, *falling, 0.05, 0.05, 0.05])
    groups, rates = optimizer(), []
    for step in (0, 2, 4):
        schedule.apply(groups, accelerator(), 0, step)
        rates.append(groups.param_groups[0]["lr"])
    assert rates == pytest.approx([0, 0.01 * 0.04, 0.01 * 0.16])
    without = schedule._replace(close_from=None, warmup_steps=0)
    assert [without.lr_factor(0), without.lr_factor(11)] == pytest.approx([1, 0.05])
    short = schedule._replace(close_from=1)  # warm-up is not over
    assert [short.lr_factor(0), short.lr_factor(1)] == pytest.approx([1, 0.05])


@pytest.mark.parametrize(
    ("epochs", "steps", "warmup_epochs", "expected"),
    [
        (300, 1000, 3, 3000),  # a large set: epochs decide
        (100, 18, 3, 100),  # a small set: at least 100 steps
        (10, 18, 3, 60),  # a short run: at most a third
        (100, 18, 0, 0),  # off
    ],
)
def test_warmup_steps(epochs, steps, warmup_epochs, expected):
    assert warmup_steps(epochs, steps, warmup_epochs) == expected


def test_nominal_batch_of_small_data():
    assert nominal_batch("auto", 999) == 16
    assert nominal_batch("auto", 1000) == 64
    assert nominal_batch(32, 10) == 32


def test_warmup_raises_lr_and_momentum_and_accumulation():
    schedule = Schedule(epochs=10, steps=100, batch=16, nominal_batch=64, warmup_steps=100)
    o, a = optimizer(), accelerator()
    schedule.apply(o, a, 0, 0)
    weight, bias = o.param_groups
    assert (weight["lr"], bias["lr"], weight["momentum"]) == (0, 0.1, 0.8)
    assert a.gradient_accumulation_steps == 1
    schedule.apply(o, a, 0, 50)
    assert weight["lr"] == pytest.approx(0.005)
    assert bias["lr"] == pytest.approx(0.055)
    assert a.gradient_accumulation_steps == 2  # 1 + 0.5 · 3, rounded half to even
    schedule.apply(o, a, 1, 0)
    assert weight["lr"] == pytest.approx(0.01 * schedule.lr_factor(1))
    assert bias["lr"] == pytest.approx(weight["lr"])
    assert weight["momentum"] == pytest.approx(0.937)
    assert a.gradient_accumulation_steps == 4


def test_adam_has_betas_instead_of_momentum():
    schedule = Schedule(epochs=2, steps=2, batch=4, momentum=0.9)
    o = torch.optim.AdamW(
        [{"params": [torch.nn.Parameter(torch.zeros(1))], "kind": "weight", "initial_lr": 1.0}]
    )
    schedule.apply(o, accelerator(), 0, 0)
    assert o.param_groups[0]["betas"] == (0.9, 0.999)
    assert "momentum" not in o.param_groups[0]


def batch_of(images):
    empty = torch.zeros(0, dtype=torch.int64)
    return Batch(
        torch.zeros(images, 3, 8, 8), Targets(empty, empty, torch.zeros(0, 4)), torch.arange(images)
    )


def test_objective_is_the_reference_scale():
    schedule = Schedule(epochs=2, steps=2, batch=4)
    detection = {
        name: torch.tensor(value) for name, value in (("box", 1.0), ("obj", 2.0), ("cls", 3.0))
    }
    losses = Losses(detection, {"fgd/relation": torch.tensor(4.0)})
    total = schedule.objective(losses, batch_of(4), accelerator(accumulation=3, processes=2), 0, 0)
    assert float(total) == (6 + 4) * 4 * 2 * 3


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_kd_decays_over_the_run_not_within_an_epoch(shape):
    schedule = Schedule(epochs=5, steps=7, batch=4, weight_schedules={"a": WeightSchedule(shape)})
    values = [schedule.kd_factor("a", e, s) for e in range(5) for s in range(7)]
    assert values == sorted(values, reverse=True)
    assert values[0] == 1
    assert values[-1] < 0.1


def test_kd_rises_and_stops():
    schedule = Schedule(
        epochs=5, steps=10, batch=4, weight_schedules={"a": WeightSchedule("constant", 10, 3)}
    )
    assert schedule.kd_factor("a", 0, 0) == pytest.approx(0.1)
    assert schedule.kd_factor("a", 1, 0) == schedule.kd_factor("a", 2, 9) == 1
    assert schedule.kd_factor("a", 3, 0) == schedule.kd_factor("a", 4, 9) == 0


def test_seeds_differ_by_step_and_repeat():
    schedule = Schedule(epochs=3, steps=4, batch=4, seed=5)
    seeds = [schedule.seed_at(e, s) for e in range(3) for s in range(4)]
    assert len(set(seeds)) == 12
    assert seeds == [schedule.seed_at(e, s) for e in range(3) for s in range(4)]


def test_decay_scale_follows_the_images_of_a_step():
    assert Schedule(epochs=1, steps=1, batch=16, nominal_batch=64).decay_scale == 1
    assert Schedule(epochs=1, steps=1, batch=48, nominal_batch=64).decay_scale == pytest.approx(
        0.75
    )


def test_every_changes_when_it_is_taught_but_not_the_weight():
    schedule = Schedule(epochs=2, steps=5, batch=2, every=3)
    taught = [schedule.teaches(*divmod(step, 5)) for step in range(10)]
    assert taught == [step in (0, 3, 6, 9) for step in range(10)]
    assert schedule.active(["fgd"], 0, 1) == ("fgd",)
    assert schedule.kd_factor("fgd", 0, 1) == schedule.kd_factor("fgd", 0, 3) == 1
