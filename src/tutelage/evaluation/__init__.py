"""Evaluation: NMS, COCO scores, differences between runs, latency."""

from __future__ import annotations

from tutelage.evaluation.bootstrap import (
    Difference,
    bootstrap_metric,
    describe_difference,
    gap_closed,
    paired_difference,
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
    "bootstrap_metric",
    "collect",
    "describe_difference",
    "evaluate",
    "gap_closed",
    "latency",
    "merge",
    "nms",
    "paired_difference",
    "score",
]
