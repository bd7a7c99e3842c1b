"""What a score means: the share of the detections with it that are right."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

STEPS = 100
_EPS = 1e-6


def score_of_probability(
    probability: float, scores: NDArray[np.float64], hits: NDArray[np.bool_]
) -> float | None:
    """Return the score at which a detection is right with a probability.

    By Platt scaling: the logistic regression of what is right on the logits of the scores, with
    smoothed targets, so that it exists without any exception, too (Platt, *Probabilistic Outputs
    for Support Vector Machines*, 1999).

    Args:
        probability: Between 0 and 1.
        scores: ``(n,)`` scores of detections, in 0..1.
        hits: ``(n,)`` whether each is right.

    Returns:
        The score; None if none is right, or if higher scores are not more often right.
    """
    right = int(hits.sum())
    if not right:
        return None
    clipped = scores.astype(np.float64).clip(_EPS, 1 - _EPS)
    design = np.stack([np.log(clipped / (1 - clipped)), np.ones(len(clipped))], 1)
    wanted = np.where(hits, (right + 1) / (right + 2), 1 / (len(hits) - right + 2))
    slope, offset = _logistic_regression(design, wanted)
    if not slope > 0:
        return None
    return 1 / (1 + math.exp((offset - math.log(probability / (1 - probability))) / slope))


def _logistic_regression(design: Any, wanted: Any) -> tuple[float, float]:
    """Return the two coefficients of the largest likelihood: Newton's method with halved steps."""
    weights: Any = np.array([1.0, 0.0])

    def loss(weights: Any) -> float:
        x = design @ weights
        return float((np.logaddexp(0, x) - wanted * x).sum())

    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-(design @ weights).clip(-50, 50)))
        gradient = design.T @ (p - wanted)
        curvature = (design * (p * (1 - p))[:, None]).T @ design + _EPS * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        before = loss(weights)
        while loss(weights - step) > before and np.abs(step).max() > _EPS:
            step = step / 2
        weights = weights - step
        if np.abs(step).max() <= _EPS:
            break
    return float(weights[0]), float(weights[1])
