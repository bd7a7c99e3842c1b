"""Teacher, baseline and distilled student side by side: equal seed, equal budget, one table."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tutelage.data import open_dataset
from tutelage.data.open_data import Split
from tutelage.evaluation import Difference, Scores, describe_difference, latency, paired_bootstrap
from tutelage.evaluation.validate import validate
from tutelage.models.build import load
from tutelage.models.cost import cost
from tutelage.models.weight_file import weight_file
from tutelage.weights.store import load_header


class Stage(NamedTuple):
    """The next arm of a comparison begins."""

    title: str


class Arm(NamedTuple):
    """One row of the table; ``start`` says which weights its training began with."""

    title: str
    model: str
    scores: Scores
    parameters: int
    gflops: float
    milliseconds: float
    start: str = ""


class Outcome(NamedTuple):
    """The table, and what it says.

    Attributes:
        arms: Teacher, baseline, distilled.
        difference: Distilled − baseline in AP with its interval over the test images.
        verdict: The same in words.
        gap_closed: Share of the gap between baseline and teacher that distillation closed.
        starts: Which weights both students began with; a stronger start is no merit of the teacher.
    """

    arms: tuple[Arm, ...]
    difference: Difference
    verdict: str
    gap_closed: float | None
    starts: str = ""


def measured(title: str, model: str | Path, *, data: str, split: Split, image_size: int) -> Arm:
    """Evaluate a model on a split, and measure its size and speed as deployed (fused, batch 1)."""
    scores = validate(str(model), data=data, split=split, image_size=image_size)
    fused = load(model).fused()
    size = cost(fused, image_size)
    speed = latency(fused, image_size)
    start = _start(weight_file(model))
    return Arm(title, str(model), scores, size.parameters, size.gflops, speed.p50_ms, start)


def concluded(teacher: Arm, baseline: Arm, distilled: Arm, *, data: str, split: Split) -> Outcome:
    """Say whether distillation helped, with the interval that the data allow."""
    index = open_dataset(data, split)
    difference = paired_bootstrap(index, baseline.scores.detections, distilled.scores.detections)
    gap = teacher.scores.AP - baseline.scores.AP
    closed = difference.delta / gap if gap > 0 else None
    verdict = describe_difference(difference)
    arms = (teacher, baseline, distilled)
    return Outcome(arms, difference, verdict, closed, starts(baseline.start, distilled.start))


def starts(baseline: str, distilled: str) -> str:
    """Say which weights both students began with."""
    if not baseline or not distilled:
        return ""
    if baseline == distilled:
        return f"Both students started {_from(baseline)}."
    return (
        f"The baseline started {_from(baseline)}, the distilled student {_from(distilled)}: "
        "the difference is not the teacher's alone."
    )


def _from(start: str) -> str:
    return start if start.startswith("from ") else f"from {start}"


def _start(file: Path) -> str:
    """Return what a run noted of the weights that it began with, if ``file`` is of a run."""
    if file.suffix != ".safetensors":
        return ""
    return str(load_header(file).get("training", {}).get("start", ""))
