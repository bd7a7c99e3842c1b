"""What is left of detections above a confidence threshold, and which threshold is best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCES: NDArray[np.float64] = np.arange(101) / 100  # the very decimals, not 0.35 + 6e-17


def by_confidence(
    scores: NDArray[np.float64],
    labels: NDArray[np.float64],
    hits: NDArray[np.bool_],
    objects: Mapping[int, int],
) -> dict[str, Any]:
    """Return precision, recall and F1 at confidence thresholds, and the threshold to use.

    Of the detections that score more than 0.00, 0.01, … 1.00, as ``predict --conf-thres`` keeps
    them. Means are over the classes with objects. Precision without any detection left is 1, where
    a precision-recall curve begins; it is 0 for a class that has no detections at all.

    Args:
        scores: ``(n,)`` of the detections.
        labels: ``(n,)`` their classes.
        hits: ``(n,)`` whether each has found an object.
        objects: The number of objects of each class.

    Returns:
        Keys: ``threshold`` (of the largest mean F1: the middle of the plateau with the first
        maximum; None if no object was found), ``precision``, ``recall`` and ``f1`` (the means
        there, else at 0; None without objects), ``thresholds`` (101), ``curves`` (the means:
        ``precision``, ``recall``, ``f1`` → 101), ``classes`` (number of a class with objects →
        ``precision``, ``recall`` and ``f1`` at the threshold, and ``curve``: 101 of F1).
    """
    curves = {
        label: _curves(scores[labels == label], hits[labels == label], count)
        for label, count in objects.items()
        if count
    }
    means = np.mean(list(curves.values()), 0) if curves else np.zeros((3, 0))
    best = _plateau_middle(means[2]) if means[2].any() else None
    place = best or 0
    keys = ("precision", "recall", "f1")
    at_best = rounded(means[:, place]) if curves else [None] * 3
    return {
        "threshold": None if best is None else float(CONFIDENCES[best]),
        **dict(zip(keys, at_best, strict=True)),
        "thresholds": CONFIDENCES.tolist(),
        "curves": dict(zip(keys, map(rounded, means), strict=True)),
        "classes": {
            label: {
                **dict(zip(keys, rounded(curve[:, place]), strict=True)),
                "curve": rounded(curve[2]),
            }
            for label, curve in curves.items()
        },
    }


def rounded(values: NDArray[np.float64]) -> list[float]:
    """Return values with the five digits of a report."""
    return [round(float(value), 5) for value in values]


def _curves(
    scores: NDArray[np.float64], hits: NDArray[np.bool_], objects: int
) -> NDArray[np.float64]:
    """Return ``(3, 101)`` precision, recall and F1 of one class, per confidence threshold."""
    detections, right = _count_above(scores), _count_above(scores[hits])
    nothing_left = np.full(len(detections), float(len(scores) > 0))
    precision = np.divide(right, detections, out=nothing_left, where=detections > 0)
    return np.stack([precision, right / objects, 2 * right / (detections + objects)])


def _count_above(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return ``(101,)`` the number of scores greater than each confidence threshold."""
    return len(scores) - np.searchsorted(np.sort(scores), CONFIDENCES, side="right")


def _plateau_middle(values: NDArray[np.float64]) -> int:
    """Return the middle of the equal values that begin with the first maximum."""
    first = int(values.argmax())
    length = int((np.append(values[first:], -1.0) != values[first]).argmax())
    return first + (length - 1) // 2
