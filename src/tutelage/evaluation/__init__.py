"""Evaluation: suppression, COCO scores, differences between runs, speed."""

from __future__ import annotations

from tutelage.evaluation.bootstrap import (
    Difference,
    difference_of,
    gap_closed,
    paired_bootstrap,
    paired_bootstrap_over_seeds,
    resampled,
    sentence,
)
from tutelage.evaluation.evaluate import EvaluatedDetections, collect, evaluate, merge
from tutelage.evaluation.nms import nms
from tutelage.evaluation.scores import ClassScore, Scores, score
from tutelage.evaluation.speed import Latency, latency

__all__ = [
    "ClassScore",
    "Difference",
    "EvaluatedDetections",
    "Latency",
    "Scores",
    "collect",
    "difference_of",
    "evaluate",
    "gap_closed",
    "latency",
    "merge",
    "nms",
    "paired_bootstrap",
    "paired_bootstrap_over_seeds",
    "resampled",
    "score",
    "sentence",
]
