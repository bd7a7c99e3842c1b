"""The bootstrap against a slow one of its own kind, and what the sentence says."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest

from tests.evaluation.synthetic_coco import (
    compare_seeds,
    detect,
    make_index,
    pycocotools_evaluation,
)
from tutelage.data.index import DatasetIndex
from tutelage.evaluation import (
    Difference,
    bootstrap_metric,
    describe_difference,
    paired_difference,
    score,
)
from tutelage.evaluation.bootstrap import _METRICS, _weighted_metric, t_quantile
from tutelage.evaluation.coco import CocoEvaluation
from tutelage.evaluation.scores import Rows

STATS = {"AP": 0, "AP50": 1, "AP75": 2, "APs": 3, "APm": 4, "APl": 5}


def paired_bootstrap(
    index: DatasetIndex, a: Rows, b: Rows, *, seed: int = 0, metric: str = "AP", **options: Any
) -> Difference:
    """Compare two runs on the same images."""
    first, second = (
        bootstrap_metric(index, run, seed=seed, metric=metric, **options) for run in (a, b)
    )
    return paired_difference([first], [second], images=len(index), seed=seed, metric=metric)


@pytest.mark.parametrize("metric", STATS)
def test_each_draw_equals_pycocotools_on_repeated_images(metric: str) -> None:
    """An image drawn three times is three images, to pycocotools."""
    index = make_index(25, seed=5)
    table = detect(index, seed=6, noise=0.1)
    generator = np.random.default_rng(1)
    draws = [np.arange(25), *generator.integers(0, 25, (4, 25))]
    weights = np.stack([np.bincount(draw, minlength=25) for draw in draws]).astype(np.int32)
    area, ious = _METRICS[metric]
    found = _weighted_metric(CocoEvaluation(index, table), weights, area, ious)
    expected = [
        pycocotools_evaluation(index, table, draw.tolist()).stats[STATS[metric]] for draw in draws
    ]
    assert found.tolist() == pytest.approx(expected, abs=1e-9)


def test_interval_equals_that_of_a_slow_bootstrap() -> None:
    index = make_index(30, seed=2)
    a, b = detect(index, seed=3, noise=0.12), detect(index, seed=4, noise=0.08)
    draws, seed = 12, 11
    found = paired_bootstrap(index, a, b, draws=draws, seed=seed, metric="AP50")
    counts = np.random.default_rng(seed).multinomial(30, np.full(30, 1 / 30), size=draws)
    slow = []
    for row in counts:
        draw = np.repeat(np.arange(30), row).tolist()
        values = [pycocotools_evaluation(index, each, draw).stats[1] for each in (a, b)]
        slow.append(values[1] - values[0])
    assert found.low == pytest.approx(np.percentile(slow, 2.5), abs=1e-9)
    assert found.high == pytest.approx(np.percentile(slow, 97.5), abs=1e-9)
    assert found.delta == pytest.approx(score(index, b).AP50 - score(index, a).AP50, abs=1e-9)


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Over many small test sets of one world, 95 % of the intervals hold the true difference."""
    world = make_index(1500, seed=7)
    a, b = detect(world, seed=8, noise=0.12), detect(world, seed=9, noise=0.09)
    truth = score(world, b).AP50 - score(world, a).AP50
    covered, trials = 0, 80
    generator = np.random.default_rng(0)
    for trial in range(trials):
        chosen = np.sort(generator.choice(1500, 60, replace=False))
        small = world.subset(chosen)
        tables = []
        for table in (a, b):
            kept = table[np.isin(table[:, 0], chosen)].copy()
            kept[:, 0] = np.searchsorted(chosen, kept[:, 0])
            tables.append(kept)
        found = paired_bootstrap(small, *tables, draws=200, seed=trial, metric="AP50")
        covered += found.low <= truth <= found.high
    assert 0.85 * trials <= covered <= trials - 1


def test_a_run_compared_with_itself() -> None:
    index = make_index(seed=1)
    table = detect(index, seed=1)
    found = paired_bootstrap(index, table, table, draws=50)
    assert found[:4] == (0.0, 0.0, 0.0, 1.0)
    assert not found.demonstrable


def test_swapping_the_arms_swaps_the_sign() -> None:
    index = make_index(seed=1)
    a, b = detect(index, seed=1, noise=0.15), detect(index, seed=2, noise=0.02)
    forth, back = paired_bootstrap(index, a, b, draws=100), paired_bootstrap(index, b, a, draws=100)
    assert (forth.delta, forth.low, forth.high) == pytest.approx(
        (-back.delta, -back.high, -back.low)
    )
    assert forth.p == back.p
    assert forth.demonstrable
    assert forth.low > 0
    assert forth == paired_bootstrap(
        index, score(index, a).detections, score(index, b).detections, draws=100
    )
    other = paired_bootstrap(index, a, b, draws=100, seed=1)
    assert other.delta == forth.delta
    assert other.low != forth.low


def test_over_seeds_resamples_seeds_and_images() -> None:
    index = make_index(60, seed=1)
    runs_a = [detect(index, seed=s, noise=0.10) for s in (1, 2, 3, 4)]
    runs_b = [detect(index, seed=s + 10, noise=0.08) for s in (1, 2, 3, 4)]
    found = compare_seeds(index, runs_a, runs_b, draws=400)
    singles = [
        paired_bootstrap(index, a, b, draws=400) for a, b in zip(runs_a, runs_b, strict=True)
    ]
    assert found.delta == pytest.approx(np.mean([each.delta for each in singles]))
    deltas = np.array([each.delta for each in singles])
    half = 3.1824463 * deltas.std(ddof=1) / 2
    assert (found.seed_low, found.seed_high) == pytest.approx(
        (found.delta - half, found.delta + half)
    )
    assert found.seeds == 4
    same = compare_seeds(index, [runs_a[0]] * 3, [runs_b[0]] * 3, draws=400)
    assert same[:3] == pytest.approx(singles[0][:3])  # seeds that agree add nothing
    assert found.high - found.low < max(each.high - each.low for each in singles)


def test_wrong_arguments() -> None:
    index = make_index()
    with pytest.raises(ValueError, match="1 and 2"):
        compare_seeds(index, [[]], [[], []], draws=5)
    with pytest.raises(ValueError, match="expected one of AP"):
        paired_bootstrap(index, [], [], metric="mAP")


def test_nothing_to_compare() -> None:
    found = paired_bootstrap(make_index(empty=True), [], [], draws=10)
    assert math.isnan(found.delta)
    assert "no object to find" in describe_difference(found)
    assert math.isnan(paired_bootstrap(make_index(), [], [], draws=10, images=[]).delta)
    nothing_found = paired_bootstrap(make_index(), [], [], draws=10)
    assert nothing_found.delta == 0


def test_a_thousand_images_take_seconds() -> None:
    index = make_index(1000, seed=1)
    a, b = detect(index, seed=1, false=8), detect(index, seed=2, false=8)
    start = time.monotonic()
    paired_bootstrap(index, a, b, draws=200)
    assert time.monotonic() - start < 60


@pytest.mark.parametrize(
    ("freedom", "expected"),
    [(1, 12.706205), (2, 4.302653), (3, 3.182446), (4, 2.776445), (9, 2.262157), (30, 2.042272)],
)
def test_t_quantiles(freedom: int, expected: float) -> None:
    assert t_quantile(0.975, freedom) == pytest.approx(expected, abs=1e-5)


ONE_SEED = (
    " One seed each: the interval covers the choice of test images, not the chance in training."
)


@pytest.mark.parametrize(
    ("difference", "verdict", "interval"),
    [
        (
            Difference(0.019, 0.008, 0.031, 0.002, images=72),
            "Distillation raised AP by +1.9 points",
            "+0.8…+3.1, paired bootstrap over 72 images",
        ),
        (
            Difference(-0.019, -0.031, -0.008, 0.002, "AP50", images=72),
            "Distillation lowered AP50 by 1.9 points",
            "-3.1…-0.8, paired bootstrap over 72 images",
        ),
        (
            Difference(0.003, -0.008, 0.014, 0.5, images=72),
            "No demonstrable difference: Distillation changed AP by +0.3 points",
            "-0.8…+1.4, paired bootstrap over 72 images",
        ),
        (
            Difference(0.02, 0.01, 0.03, 0.002, "AP", 72, 3, 0.005, 0.035),
            "Distillation raised AP by +2.0 points",
            "+1.0…+3.0, paired bootstrap over 3 seeds and 72 images; +0.5…+3.5 by t over the seeds",
        ),
        (
            Difference(0.02, 0.01, 0.03, 0.002, "AP", 72, 3, -0.005, 0.045),
            "No demonstrable difference: Distillation changed AP by +2.0 points",
            "+1.0…+3.0, paired bootstrap over 3 seeds and 72 images; -0.5…+4.5 by t over the seeds",
        ),
    ],
)
def test_sentence(difference: Difference, verdict: str, interval: str) -> None:
    told = f"{verdict} (95 % interval {interval})."
    assert describe_difference(difference) == told + (ONE_SEED if difference.seeds == 1 else "")
    assert "Width raised" in describe_difference(Difference(0.1, 0.05, 0.2, 0.0), subject="Width")
