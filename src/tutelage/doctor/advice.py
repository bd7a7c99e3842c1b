"""What to try, from what was measured: rules with their reasons.

A rule speaks only where its condition was seen in a measurement of ours or follows from what a
method compares; what rests on one data set says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from tutelage.structures import Tap

NARROW = 32  # channels of the finest tap: 16 were too few on the built-in digits
ALIKE = 0.95  # linear CKA from which a level has little left to teach
FAR = 10.0  # a fixed weight whose gradient ratio is so many times off the wanted one


class Suggestion(NamedTuple):
    """Something to try: what to write, and why."""

    setting: str
    reason: str


class AdviceInput(NamedTuple):
    """What the rules judge.

    Attributes:
        taps: The student's tapped layers, finest first.
        head_inputs: The layers that the student's head reads.
        given_layers: Whether layers were asked for.
        similarity: Linear CKA per pair.
        comparable: Whether predictions of teachers and student can be compared.
        features: Whether a method of the run compares features.
        predictions: Whether a method of the run compares predictions.
        fixed: Gradient ratio at the taps of methods with a fixed weight, and the one wanted.
        automatic: Measured weight of the run's others.
        weak: Whether the teacher found nothing, could not be judged or is below the student.
    """

    taps: tuple[Tap, ...]
    head_inputs: tuple[Tap, ...]
    given_layers: bool
    similarity: tuple[float, ...]
    comparable: bool
    features: bool
    predictions: bool
    fixed: Mapping[str, tuple[float, float]]
    automatic: Mapping[str, float]
    weak: bool


def suggestions(case: AdviceInput) -> Iterator[Suggestion]:
    """Yield what the rules say, the most important first."""
    for rule in RULES:
        yield from rule(case)


def _teacher(case: AdviceInput) -> Iterator[Suggestion]:
    if case.weak:
        yield Suggestion(
            "tutelage train --weights <teacher> --data <data>",
            "A teacher that is not clearly better on this data pulls the student down: train it "
            "on this data first.",
        )


def _layers(case: AdviceInput) -> Iterator[Suggestion]:
    wider = sum(tap.channels for tap in case.head_inputs) > sum(tap.channels for tap in case.taps)
    asked = case.features and not case.given_layers
    if asked and wider and case.taps[0].channels < NARROW:
        keys = ",".join(tap.key for tap in case.head_inputs)
        yield Suggestion(
            f"--student-kd-layers {keys} (and those of the teacher)",
            f"The student's finest tap has {case.taps[0].channels} channels, the head's inputs "
            f"{case.head_inputs[0].channels}. At 16 channels FGD did harm on the built-in digits, "
            "at the head's inputs it helped (docs/benchmarks.md).",
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
            "Teacher and student know the same classes, so that predictions can be compared. On "
            "two data sets that helped more than any method of features (docs/benchmarks.md).",
        )


def _weights(case: AdviceInput) -> Iterator[Suggestion]:
    for name, (found, wanted) in case.fixed.items():
        if not wanted / FAR <= found <= wanted * FAR:
            yield Suggestion(
                f"--method {name}  without a weight",
                f"With the weight given its gradients at the taps are {found:.2g} times those of "
                f"the detection loss; {wanted:g} times is what  weight: auto  would choose.",
            )
    if case.automatic:
        found = ", ".join(f"{name} × {weight:.3g}" for name, weight in case.automatic.items())
        yield Suggestion(
            "weight: auto",
            f"Measured now: {found}. A run measures again after warm-up and up to its middle, "
            "since at the start the balance is another.",
        )


Rule = Callable[[AdviceInput], Iterator[Suggestion]]
RULES: tuple[Rule, ...] = (_teacher, _layers, _similar, _methods, _weights)
