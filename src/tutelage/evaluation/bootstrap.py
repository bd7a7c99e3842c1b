"""Paired bootstrap of the difference in AP between runs that were evaluated on the same images.

The images are resampled with replacement, with the same draws for both arms, so that the difficulty
of an image cancels (Efron and Tibshirani, An Introduction to the Bootstrap, 1993). With several
seeds the seeds are resampled too, in pairs, and a t-interval over the seeds is added.

An image drawn twice counts twice: its detections and objects have weight two. (``compare`` of
hotcoco 1.3 drops repetitions, so that its intervals are a quarter too narrow.)
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

_CHUNK_CELLS = 4_000_000  # draws × detections in memory at a time
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


def bootstrap_metric(
    index: DatasetIndex,
    detections: Rows,
    *,
    draws: int = 1000,
    seed: int = 0,
    metric: str = "AP",
    images: Sequence[int] | None = None,
) -> Values:
    """Return a metric of one run on the images, then on each bootstrap draw of them.

    Args:
        index: Images and objects.
        detections: Of the run.
        draws: Bootstrap draws.
        seed: Of the draws: the same seed gives every run the same draws.
        metric: AP, AP50, AP75, APs, APm or APl.
        images: Positions of the images that were evaluated; all if None.

    Returns:
        ``(1 + draws,)``; NaN without objects.

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
    evaluation = CocoEvaluation(index, to_table(detections), images=images)
    return _weighted_metric(evaluation, weights, area, ious)


def paired_difference(
    a: Sequence[Values], b: Sequence[Values], *, images: int, seed: int = 0, metric: str = "AP"
) -> Difference:
    """Compare two arms of runs given by :func:`bootstrap_metric`, in the same order of seeds.

    Args:
        a: One run per seed of the first arm.
        b: Of the second arm.
        images: Number of images resampled.
        seed: Of the draws of training seeds.
        metric: Name of the metric.

    Raises:
        ValueError: The arms differ in length or are empty.
    """
    if len(a) != len(b) or not a:
        raise ValueError(f"expected as many runs in both arms, but got {len(a)} and {len(b)}")
    deltas = np.stack(b) - np.stack(a)  # (seeds, 1 + draws)
    drawn = _resample_seeds(deltas, seed)
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
    """Return the share of the gap between arm A and the teacher that arm B closes.

    Args:
        a: Runs of the first arm, as in :func:`paired_difference`.
        b: Runs of the second arm.
        teacher: The teacher's values.
        seed: Of the draws of training seeds.

    Returns:
        The share and its 95 % interval (NaN if the gap is not positive in some draw); None if the
        teacher is no better than A.
    """
    first, second = np.stack(a), np.stack(b)
    gap = float(teacher[0] - first[:, 0].mean())
    if not gap > 0:
        return None
    share = float((second - first)[:, 0].mean()) / gap
    gaps = _resample_seeds(teacher - first, seed)
    if not (gaps > 0).all():
        return share, math.nan, math.nan
    low, high = np.percentile(_resample_seeds(second - first, seed) / gaps, [2.5, 97.5]).tolist()
    return share, low, high


def describe_difference(difference: Difference, *, subject: str = "Distillation") -> str:
    """Describe whether a difference is demonstrable, with its intervals.

    Args:
        difference: B − A.
        subject: What B has and A has not.
    """
    name, seeds, size = difference.metric, difference.seeds, _points(difference.delta)
    if not math.isfinite(difference.delta):
        return f"{name} cannot be compared: there is no object to find."
    sample = f"{seeds} seeds and " * (seeds > 1) + f"{difference.images} images"
    interval = (
        f"95 % interval {_span(difference.low, difference.high)}, paired bootstrap over {sample}"
    )
    if seeds > 1 and math.isfinite(difference.seed_low):
        interval += f"; {_span(difference.seed_low, difference.seed_high)} by t over the seeds"
    if not difference.demonstrable:
        verdict = f"No demonstrable difference: {subject} changed {name} by {size} points"
    elif difference.delta > 0:
        verdict = f"{subject} raised {name} by {size} points"
    else:
        verdict = f"{subject} lowered {name} by {size[1:]} points"
    text = f"{verdict} ({interval})."
    if seeds == 1:
        text += (
            " One seed each: the interval covers the choice of test images, "
            "not the chance in training."
        )
    return text


def _resample_seeds(values: Values, seed: int) -> Values:
    """Return means over rows drawn with replacement, ``(seeds, 1 + draws)`` to ``(draws,)``."""
    shape = (len(values), values.shape[1] - 1)
    rows = np.random.default_rng([seed, 1]).integers(0, len(values), shape)
    return np.take_along_axis(values[:, 1:], rows, axis=0).mean(0)


def _weighted_metric(
    evaluation: CocoEvaluation, weights: NDArray[np.int32], area: str, ious: slice
) -> Values:
    """Return the metric for each row of weights ``(draws, images)``; NaN without objects."""
    classes = evaluation.matches(area)
    if not classes:
        return np.full(len(weights), np.nan)
    per_class = np.stack([_class_metric(matches, weights, ious) for matches in classes])
    present = np.isfinite(per_class)
    total = np.where(present, per_class, 0.0).sum(0)
    return np.divide(total, present.sum(0), out=np.full(len(weights), np.nan), where=present.any(0))


def _class_metric(matches: ClassMatches, weights: NDArray[np.int32], ious: slice) -> Values:
    size = max(1, _CHUNK_CELLS // max(1, len(matches.image)))
    chunks = range(0, len(weights), size)
    return np.concatenate([_class_ap(matches, weights[i : i + size], ious) for i in chunks])


def _class_ap(matches: ClassMatches, weights: NDArray[np.int32], ious: slice) -> Values:
    """Return AP of one class per row of weights: COCO's 101 points of a weighted curve."""
    objects = weights @ matches.objects  # (draws,)
    # How many of the 101 recall levels are reached with h objects found, for every h.
    reached = np.searchsorted(
        RECALLS, np.arange(objects.max() + 1) / np.maximum(objects, 1)[:, None], side="right"
    )
    reached[:, 0] = 0  # level 0 is reached by the first hit
    weight = weights[:, matches.image]  # (draws, detections)
    all_detections = np.cumsum(weight, 1, dtype=np.int32)
    rows = np.arange(len(weights))[:, None]
    total = np.zeros(len(weights))
    thresholds = range(len(IOUS))[ious]
    for t in thresholds:
        hits = np.flatnonzero(matches.hit[t])
        if not len(hits):
            continue
        detections = all_detections
        if matches.ignored[t].any():
            detections = np.cumsum(np.where(matches.ignored[t], 0, weight), 1, dtype=np.int32)
        true_positives = np.cumsum(weight[:, hits], 1, dtype=np.int32)
        precision = true_positives / np.maximum(detections[:, hits], 1)
        envelope = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
        levels = reached[rows, true_positives]
        levels[:, 1:] -= levels[:, :-1].copy()
        total += (levels * envelope).sum(1)
    return np.where(objects > 0, total / (len(thresholds) * len(RECALLS)), np.nan)


def _t_interval(deltas: Values) -> tuple[float, float]:
    """Return the 95 % interval of the mean over seeds by Student's t; NaN for fewer than two."""
    if len(deltas) < 2:
        return math.nan, math.nan
    half = t_quantile(0.975, len(deltas) - 1) * float(deltas.std(ddof=1)) / math.sqrt(len(deltas))
    return float(deltas.mean()) - half, float(deltas.mean()) + half


def t_quantile(probability: float, freedom: int) -> float:
    """Return a quantile of Student's t, for a probability in 0.5..1 and degrees of freedom n.

    With t = √n tan θ the density of θ is proportional to cosⁿ⁻¹ θ; it is integrated numerically.
    """
    angle = np.linspace(0, math.pi / 2, 100_001)
    density = np.cos(angle) ** (freedom - 1)
    area = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    theta = float(np.interp(2 * probability - 1, area / area[-1], angle))
    return math.sqrt(freedom) * math.tan(theta)


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"


def _span(low: float, high: float) -> str:
    return f"{_points(low)}…{_points(high)}"
