"""Teacher, baseline and distilled student side by side: equal seed, equal budget, one table."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tutelage.data import open_dataset
from tutelage.data.opening import Split
from tutelage.evaluation import Difference, Scores, latency, paired_bootstrap, sentence
from tutelage.evaluation.validate import validate
from tutelage.models.build import load
from tutelage.models.cost import cost


class Stage(NamedTuple):
    """The next arm of a comparison begins."""

    title: str


class Arm(NamedTuple):
    """One row of the table."""

    title: str
    model: str
    scores: Scores
    parameters: int
    gflops: float
    milliseconds: float


class Outcome(NamedTuple):
    """The table, and what it says.

    Attributes:
        arms: Teacher, baseline, distilled.
        difference: Distilled − baseline in AP with its interval over the test images.
        verdict: The same in words.
        gap_closed: Share of the gap between baseline and teacher that distillation closed.
    """

    arms: tuple[Arm, ...]
    difference: Difference
    verdict: str
    gap_closed: float | None


def measured(title: str, model: str | Path, *, data: str, split: Split, image_size: int) -> Arm:
    """Evaluate a model on a split, and measure its size and speed as deployed (fused, batch 1)."""
    scores = validate(str(model), data=data, split=split, image_size=image_size)
    fused = load(model).fused()
    size = cost(fused, image_size)
    speed = latency(fused, image_size)
    return Arm(title, str(model), scores, size.parameters, size.gflops, speed.p50_ms)


def concluded(
    teacher: Arm, baseline: Arm, distilled: Arm, *, data: str, split: Split, seeds: int = 1
) -> Outcome:
    """Say whether distillation helped, with the interval that the data allow."""
    index = open_dataset(data, split)
    difference = paired_bootstrap(index, baseline.scores.detections, distilled.scores.detections)
    gap = teacher.scores.AP - baseline.scores.AP
    closed = difference.delta / gap if gap > 0 else None
    verdict = sentence(difference, images=len(index), seeds=seeds)
    return Outcome((teacher, baseline, distilled), difference, verdict, closed)
