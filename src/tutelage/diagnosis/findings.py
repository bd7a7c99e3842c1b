"""The entries of the doctor's report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from tutelage.diagnosis.advice import Suggestion
from tutelage.structures import Tap

STAGES = ("networks and data", "teacher's AP", "wiring", "similarity", "gradients", "cost")


class ExaminationStage(NamedTuple):
    """The next stage begins; ``number`` of them are done."""

    title: str
    number: int


class DoctorFinding(NamedTuple):
    """A finding, with the code that a run would show; with an error a run would not start."""

    level: Literal["error", "warning", "info"]
    text: str
    fix: str = ""
    code: str = ""


class TeacherScores(NamedTuple):
    """A teacher's scores on val; None if it shares no class name with the data."""

    source: str
    scores: Mapping[str, float] | None


class LayerPairReport(NamedTuple):
    """A pair of layers: the teacher's number from 1, the size of its map, linear CKA."""

    student: Tap
    teacher: Tap
    number: int
    size: tuple[int, int]
    similarity: float


class MethodReport(NamedTuple):
    """Measurements of a method.

    Attributes:
        name: The method.
        weight: The fixed weight, or that of ``weight: auto``.
        fixed: Whether the weight is fixed.
        quartiles: ‖∂L_kd/∂F‖ / ‖∂L_det/∂F‖ at the taps at that weight, over batches.
        levels: The median of the same at each of its taps.
        milliseconds: Its time per step without the teacher's pass.
    """

    name: str
    weight: float
    fixed: bool
    quartiles: tuple[float, float, float]
    levels: dict[str, float]
    milliseconds: float


class StepCost(NamedTuple):
    """Milliseconds of a step of ``images``: without a teacher, and of the teachers' pass."""

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
