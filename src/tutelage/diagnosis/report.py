"""The doctor's report as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from tutelage.diagnosis.advice import Suggestion
from tutelage.diagnosis.findings import (
    DoctorFinding,
    Entry,
    LayerPairReport,
    MethodReport,
    StepCost,
    TeacherScores,
)

T = TypeVar("T")


class Diagnosis(NamedTuple):
    """What was measured of teacher, student, methods and data.

    Attributes:
        teachers: The scores of each teacher on val.
        levels: The pairs of layers.
        methods: The methods.
        cost: Of a step; None if it was not reached.
        findings: What a run would say, errors among them.
        suggestions: Settings to try.
    """

    teachers: tuple[TeacherScores, ...]
    levels: tuple[LayerPairReport, ...]
    methods: tuple[MethodReport, ...]
    cost: StepCost | None
    findings: tuple[DoctorFinding, ...]
    suggestions: tuple[Suggestion, ...]

    @property
    def errors(self) -> tuple[DoctorFinding, ...]:
        """The findings with which a run would not start."""
        return tuple(finding for finding in self.findings if finding.level == "error")

    @property
    def ok(self) -> bool:
        """Whether a run would start."""
        return not self.errors


def collect(entries: Iterable[Entry]) -> Diagnosis:
    """Return the entries of a report by kind."""
    entries = tuple(entries)

    def of(kind: type[T]) -> tuple[T, ...]:
        return tuple(entry for entry in entries if isinstance(entry, kind))

    return Diagnosis(
        of(TeacherScores),
        of(LayerPairReport),
        of(MethodReport),
        next(iter(of(StepCost)), None),
        of(DoctorFinding),
        of(Suggestion),
    )
