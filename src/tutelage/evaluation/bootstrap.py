"""Did it help? Statistics on finished runs that were evaluated on the same images.

The images are resampled with replacement, with the same draw for both arms, so that what makes an
image easy or hard cancels (Efron and Tibshirani, An Introduction to the Bootstrap, 1993). With
several seeds the seeds are resampled too, in pairs, and a t-interval over the seeds stands beside
it.

An image drawn twice counts twice: its detections and objects enter the curve with weight two. (The
``compare`` of hotcoco 1.3 drops repetitions, which makes its intervals a quarter too narrow.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutelage.data.index import DatasetIndex
from tutelage.evaluation.coco import IOUS, RECALLS, ClassMatches, CocoEvaluation
from tutelage.evaluation.scores import Rows, to_table

Values = NDArray[np.float64]

_CELLS = 4_000_000  # of draws × detections held at a time
_METRICS: dict[str, tuple[str, slice]] = {
    "AP": ("all", slice(None)),
    "AP50": ("all", slice(0, 1)),
    "AP75": ("all", slice(5, 6)),
    "APs": ("small", slice(None)),
    "APm": ("medium", slice(None)),
    "APl": ("large", slice(None)),
}


class Difference(NamedTuple):
    """B − A in one metric (0..1), with its 95 % interval.

    Attributes:
        delta: The difference; with several seeds that of the means.
        low: Lower end of the bootstrap interval.
        high: Upper end.
        p: Two-sided bootstrap p-value of "no difference": twice the smaller share of draws on
            either side of zero.
        metric: Its COCO name.
        images: Images resampled.
        seeds: Pairs of runs.
        seed_low: Lower end of the t-interval over seeds; NaN for one seed.
        seed_high: Upper end.
    """

    delta: float
    low: float
    high: float
    p: float
    metric: str = "AP"
    images: int = 0
    seeds: int = 1
    seed_low: float = math.nan
    seed_high: float = math.nan

    @property
    def demonstrable(self) -> bool:
        """Whether zero lies outside the interval; with several seeds, outside both."""
        outside = self.low > 0 or self.high < 0
        if self.seeds > 1:
            outside = outside and (self.seed_low > 0 or self.seed_high < 0)
        return outside


def paired_bootstrap(
    index: DatasetIndex,
    detections_a: Rows,
    detections_b: Rows,
    *,
    draws: int = 1000,
    seed: int = 0,
    metric: str = "AP",
    images: Sequence[int] | None = None,
) -> Difference:
    """Compare two runs on the same images.

    Args:
        index: Images and objects.
        detections_a: Of the first run (the baseline): a table or COCO results.
        detections_b: Of the second run.
        draws: Bootstrap draws.
        seed: Decides the draws.
        metric: AP, AP50, AP75, APs, APm or APl.
        images: Positions of the images that were evaluated; all if None.

    Returns:
        B − A and the 95 % percentile interval. It covers the choice of test images only: how much
        another training seed would change, one run of each cannot tell.
    """
    return paired_bootstrap_over_seeds(
        index, [detections_a], [detections_b], draws=draws, seed=seed, metric=metric, images=images
    )


def paired_bootstrap_over_seeds(
    index: DatasetIndex,
    runs_a: Sequence[Rows],
    runs_b: Sequence[Rows],
    *,
    draws: int = 1000,
    seed: int = 0,
    metric: str = "AP",
    images: Sequence[int] | None = None,
) -> Difference:
    """Compare two arms of several runs each: the seeds are resampled, then the images.

    Args:
        index: Images and objects.
        runs_a: Detections of the first arm, one run per seed.
        runs_b: Detections of the second arm, in the same order of seeds.
        draws: Bootstrap draws.
        seed: Decides the draws.
        metric: AP, AP50, AP75, APs, APm or APl.
        images: Positions of the images that were evaluated; all if None.

    Raises:
        ValueError: The arms differ in length or are empty, or the metric is unknown.
    """
    if len(runs_a) != len(runs_b) or not runs_a:
        raise ValueError(
            f"expected as many runs in both arms, but got {len(runs_a)} and {len(runs_b)}"
        )
    a, b = (
        [resampled(index, r, draws=draws, seed=seed, metric=metric, images=images) for r in runs]
        for runs in (runs_a, runs_b)
    )
    count = len(index) if images is None else len(images)
    return difference_of(a, b, images=count, seed=seed, metric=metric)


def resampled(
    index: DatasetIndex,
    run: Rows,
    *,
    draws: int = 1000,
    seed: int = 0,
    metric: str = "AP",
    images: Sequence[int] | None = None,
) -> Values:
    """Return a metric of one run on the images, then on each bootstrap draw of them.

    Args:
        index: Images and objects.
        run: Its detections.
        draws: Bootstrap draws.
        seed: Decides the draws: the same seed gives every run the same draws.
        metric: AP, AP50, AP75, APs, APm or APl.
        images: Positions of the images that were evaluated; all if None.

    Returns:
        ``(1 + draws,)``; NaN where there is no object to find.

    Raises:
        ValueError: The metric is unknown.
    """
    if metric not in _METRICS:
        raise ValueError(f"expected one of {', '.join(_METRICS)}, but got {metric}")
    area, ious = _METRICS[metric]
    count = len(index) if images is None else len(images)
    # Row 0 is the sample itself; the rest are bootstrap draws, as counts per image.
    weights = np.ones((draws + 1, count), np.int32)
    if count:
        generator = np.random.default_rng(seed)
        weights[1:] = generator.multinomial(count, np.full(count, 1 / count), size=draws)
    return _values(CocoEvaluation(index, to_table(run), images=images), weights, area, ious)


def difference_of(
    a: Sequence[Values], b: Sequence[Values], *, images: int, seed: int = 0, metric: str = "AP"
) -> Difference:
    """Compare two arms, one :func:`resampled` run per seed, in the same order of seeds.

    Args:
        a: Runs of the first arm.
        b: Runs of the second arm.
        images: Images resampled.
        seed: Decides which seeds a draw takes.
        metric: What the values are.
    """
    deltas = np.stack(b) - np.stack(a)  # (seeds, draws + 1)
    drawn = _over_seeds(deltas, seed)
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return Difference(math.nan, math.nan, math.nan, math.nan, metric, images, len(deltas))
    low, high = np.percentile(drawn, [2.5, 97.5]).tolist()
    share = min((drawn <= 0).mean(), (drawn >= 0).mean())
    return Difference(
        float(deltas[:, 0].mean()),
        low,
        high,
        min(1.0, 2 * max(float(share), 1 / len(drawn))),
        metric,
        images,
        len(deltas),
        *_t_interval(deltas[:, 0]),
    )


def gap_closed(
    a: Sequence[Values], b: Sequence[Values], teacher: Values, *, seed: int = 0
) -> tuple[float, float, float] | None:
    """Return which share of the gap between arm A and the teacher arm B closes.

    Args:
        a: Runs of the first arm, as in :func:`difference_of`.
        b: Runs of the second arm.
        teacher: The teacher's values.
        seed: Decides which seeds a draw takes.

    Returns:
        The share, and its 95 % interval (NaN if the gap vanishes in some draw); None if the teacher
        is no better than A.
    """
    first, second = np.stack(a), np.stack(b)
    gap = float(teacher[0] - first[:, 0].mean())
    if not gap > 0:
        return None
    share = float((second - first)[:, 0].mean()) / gap
    gaps = _over_seeds(teacher - first, seed)
    if not (gaps > 0).all():
        return share, math.nan, math.nan
    low, high = np.percentile(_over_seeds(second - first, seed) / gaps, [2.5, 97.5]).tolist()
    return share, low, high


def sentence(
    difference: Difference,
    *,
    images: int | None = None,
    seeds: int | None = None,
    subject: str = "Distillation",
) -> str:
    """Say whether it helped, and how far that can be trusted.

    Args:
        difference: B − A.
        images: Number of test images; that of ``difference`` if None.
        seeds: Number of seeds per arm; that of ``difference`` if None.
        subject: What B has and A has not.
    """
    images = difference.images if images is None else images
    seeds = difference.seeds if seeds is None else seeds
    name = difference.metric
    if not math.isfinite(difference.delta):
        return f"{name} cannot be compared: there is no object to find."
    over = f"{seeds} seeds and {images} images" if seeds > 1 else f"{images} images"
    interval = (
        f"95 % interval {_span(difference.low, difference.high)}, paired bootstrap over {over}"
    )
    if seeds > 1 and math.isfinite(difference.seed_low):
        interval += f"; {_span(difference.seed_low, difference.seed_high)} by t over the seeds"
    if not difference.demonstrable:
        size = _points(difference.delta)
        verdict = f"No demonstrable difference: {subject} changed {name} by {size} points"
    else:
        verb = "raised" if difference.delta > 0 else "lowered"
        size = _points(difference.delta) if difference.delta > 0 else _points(difference.delta)[1:]
        verdict = f"{subject} {verb} {name} by {size} points"
    text = f"{verdict} ({interval})."
    if seeds == 1:
        text += (
            " One seed each: the interval covers the choice of test images, "
            "not the chance in training."
        )
    return text


def _over_seeds(values: Values, seed: int) -> Values:
    """Means over seeds drawn with replacement, ``(seeds, 1 + draws)`` to ``(draws,)``.

    The same seed chooses the same rows, whatever the values are.
    """
    shape = (len(values), values.shape[1] - 1)
    chosen = np.random.default_rng([seed, 1]).integers(0, len(values), shape)
    return np.take_along_axis(values[:, 1:], chosen, axis=0).mean(0)


def _values(
    evaluation: CocoEvaluation, weights: NDArray[np.int32], area: str, ious: slice
) -> NDArray[np.float64]:
    """The metric for every row of ``weights`` ``(draws, images)``; NaN where there is no object."""
    classes = evaluation.matches(area)
    if not classes:
        return np.full(len(weights), np.nan)
    per_class = np.stack([_class_values(each, weights, ious) for each in classes])
    present = np.isfinite(per_class)
    total = np.where(present, per_class, 0.0).sum(0)
    return np.divide(total, present.sum(0), out=np.full(len(weights), np.nan), where=present.any(0))


def _class_values(
    found: ClassMatches, weights: NDArray[np.int32], ious: slice
) -> NDArray[np.float64]:
    chunk = max(1, _CELLS // max(1, len(found.image)))
    parts = [_chunk(found, weights[at : at + chunk], ious) for at in range(0, len(weights), chunk)]
    return np.concatenate(parts)


def _chunk(found: ClassMatches, weights: NDArray[np.int32], ious: slice) -> NDArray[np.float64]:
    """AP of one class for each row of weights: COCO's 101 points of a weighted curve."""
    objects = weights @ found.objects  # (draws,)
    # How many of the 101 recall levels are reached with h objects found, for every h.
    reached = np.searchsorted(
        RECALLS, np.arange(objects.max() + 1) / np.maximum(objects, 1)[:, None], side="right"
    )
    reached[:, 0] = 0  # level 0 belongs to the first hit
    weight = weights[:, found.image]  # (draws, detections)
    everything = np.cumsum(weight, 1, dtype=np.int32)
    rows = np.arange(len(weights))[:, None]
    total = np.zeros(len(weights))
    thresholds = range(len(IOUS))[ious]
    for t in thresholds:
        hits = np.flatnonzero(found.hit[t])
        if not len(hits):
            continue
        counted = everything
        if found.ignored[t].any():
            counted = np.cumsum(np.where(found.ignored[t], 0, weight), 1, dtype=np.int32)
        right = np.cumsum(weight[:, hits], 1, dtype=np.int32)
        precision = right / np.maximum(counted[:, hits], 1)
        envelope = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
        levels = reached[rows, right]
        levels[:, 1:] -= levels[:, :-1].copy()
        total += (levels * envelope).sum(1)
    return np.where(objects > 0, total / (len(thresholds) * len(RECALLS)), np.nan)


def _t_interval(deltas: NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of the mean over seeds by Student's t; NaN for fewer than two."""
    if len(deltas) < 2:
        return math.nan, math.nan
    half = t_quantile(0.975, len(deltas) - 1) * float(deltas.std(ddof=1)) / math.sqrt(len(deltas))
    return float(deltas.mean()) - half, float(deltas.mean()) + half


def t_quantile(probability: float, freedom: int) -> float:
    """Return a quantile of Student's t.

    By bisection of the finite series of the distribution function for whole degrees of freedom
    (Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4).

    Args:
        probability: In 0.5..1.
        freedom: Degrees of freedom.
    """
    low, high = 0.0, 1.0
    while _t_probability(high, freedom) < probability:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        if _t_probability(middle, freedom) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _t_probability(t: float, freedom: int) -> float:
    """P(T <= t) for t >= 0."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine, term, series = math.cos(angle), 1.0, 0.0
    first = 1 if freedom % 2 else 0
    for k in range(first, freedom - 1, 2):
        # The terms go 1, 1/2 c², (1·3)/(2·4) c⁴ … for even, c, 2/3 c³ … for odd degrees of freedom.
        series += term
        term *= cosine**2 * (k + 1) / (k + 2)
    if freedom % 2:
        inside = 2 / math.pi * (angle + math.sin(angle) * cosine * series)
    else:
        inside = math.sin(angle) * series
    return 0.5 + inside / 2


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"


def _span(low: float, high: float) -> str:
    return f"{_points(low)}…{_points(high)}"
