"""What the doctor finds: the entries of its report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from tutelage.doctor.advice import Suggestion
from tutelage.structures import Tap

STAGES = ("networks and data", "teacher's AP", "wiring", "similarity", "gradients", "cost")


class ExaminationStage(NamedTuple):
    """The next part begins; ``number`` of them are done."""

    title: str
    number: int


class DoctorFinding(NamedTuple):
    """Something to know; an error would keep a run from starting."""

    level: Literal["error", "warning", "info"]
    text: str
    fix: str = ""


class TeacherScores(NamedTuple):
    """The teacher on this val split: its scores, None where it shares no class name."""

    source: str
    scores: Mapping[str, float] | None


class LayerPairReport(NamedTuple):
    """A pair of layers: the teacher, counted from 1, the size of its map, linear CKA of both."""

    student: Tap
    teacher: Tap
    number: int
    size: tuple[int, int]
    similarity: float


class MethodReport(NamedTuple):
    """A method at work.

    Attributes:
        name: The method.
        weight: What ``weight: auto`` would choose, or the fixed weight.
        fixed: Whether the weight was given.
        quartiles: ‖∂L_kd/∂F‖ / ‖∂L_det/∂F‖ at the taps at that weight, over batches.
        levels: The median of the same at each of its taps.
        milliseconds: What it adds to a step, apart from the teacher's pass.
    """

    name: str
    weight: float
    fixed: bool
    quartiles: tuple[float, float, float]
    levels: dict[str, float]
    milliseconds: float


class StepCost(NamedTuple):
    """Milliseconds per step of so many images: without a teacher, and the teachers' pass."""

    images: int
    plain: float
    teacher: float


Entry = (
    ExaminationStage
    | DoctorFinding
    | TeacherScores
    | LayerPairReport
    | MethodReport
    | StepCost
    | Suggestion
)
