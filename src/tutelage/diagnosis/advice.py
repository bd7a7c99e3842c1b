"""Rules that derive suggestions from the measurements.

The condition of a rule comes from our benchmarks or from the definition of a method; a reason that
rests on few data sets says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tutelage.structures import Tap

ALIKE = 0.95  # linear CKA from which little is left to learn
FAR = 10.0  # factor between the gradient ratio of a fixed weight and that of weight: auto


class Suggestion(NamedTuple):
    """A setting to try, and the reason."""

    setting: str
    reason: str


class AdviceInput(NamedTuple):
    """The input of the rules.

    Attributes:
        taps: The student's tapped layers, finest first.
        similarity: Linear CKA per pair.
        comparable: Whether predictions of teachers and student can be compared.
        features: Whether a method of the run compares features.
        predictions: Whether a method of the run compares predictions.
        fixed: Measured and intended gradient ratio of each method with a fixed weight.
        weak: Whether the teacher has AP 0, could not be evaluated or is below the student.
    """

    taps: tuple[Tap, ...]
    similarity: tuple[float, ...]
    comparable: bool
    features: bool
    predictions: bool
    fixed: Mapping[str, tuple[float, float]]
    weak: bool


def suggestions(case: AdviceInput) -> Iterator[Suggestion]:
    """Yield the suggestions of all rules, the most important first."""
    for rule in (_teacher, _similar, _methods, _weights):
        yield from rule(case)


def _teacher(case: AdviceInput) -> Iterator[Suggestion]:
    if case.weak:
        yield Suggestion(
            "tutelage train --weights <teacher> --data <data>",
            "A teacher that is not clearly better on this data pulls the student down: train it "
            "on this data first.",
        )


def _similar(case: AdviceInput) -> Iterator[Suggestion]:
    if not case.features:
        return
    alike = [tap.key for tap, cka in zip(case.taps, case.similarity, strict=True) if cka >= ALIKE]
    if alike:
        left = ",".join(tap.key for tap in case.taps if tap.key not in alike)
        setting = f"--student-kd-layers {left}" if left else "another teacher, or other layers"
        yield Suggestion(
            setting,
            f"Layer {', '.join(alike)} has a linear CKA of {ALIKE:g} or more with its partner: "
            "there is little left to learn at it.",
        )


def _methods(case: AdviceInput) -> Iterator[Suggestion]:
    if case.comparable and not case.predictions:
        yield Suggestion(
            "--method bckd",
            "Teacher and student know the same classes, so that predictions can be compared. That "
            "helped more than every method of features beside it in docs/benchmarks.md.",
        )


def _weights(case: AdviceInput) -> Iterator[Suggestion]:
    for name, (measured, intended) in case.fixed.items():
        if not intended / FAR <= measured <= intended * FAR:
            yield Suggestion(
                f"--method {name}  without a weight",
                f"With the fixed weight its gradients at the taps are {measured:.2g} times those "
                f"of the detection loss; weight: auto  would choose {intended:g} times.",
            )
