"""Methods that compare what two networks predict, candidate by candidate."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from tutelage.distill.candidate_matching import match_candidates
from tutelage.distill.method import HeightWidth, Method, Need, at_least_float32
from tutelage.distill.scores import level_counts
from tutelage.structures import Knowledge, Predictions, Targets


class ResponseMethod(Method):
    """A method that compares the predictions of two heads on the same grids, with equal classes.

    Half precision is raised to float32 and autocast is off inside: areas in pixels exceed the range
    of float16. float64 stays.

    Args:
        channels: Student and teacher channels per pair of maps; not used.
    """

    needs = Need.PREDICTIONS | Need.CLASSES

    @abstractmethod
    def compare(
        self, student: Predictions, teacher: Predictions, targets: Targets, image_size: HeightWidth
    ) -> dict[str, Tensor]:
        """Compare the candidates of a batch.

        Args:
            student: Differentiable, at least float32.
            teacher: As many candidates per level and classes, at least float32, detached.
            targets: The boxes of the batch.
            image_size: Height and width of the canvas in pixels.

        Returns:
            Named scalars, each a mean over the images.
        """

    def forward(
        self, student: Knowledge, teacher: Knowledge, targets: Targets, image_size: HeightWidth
    ) -> dict[str, Tensor]:
        """Compare the predictions.

        Raises:
            ValueError: Predictions are missing, or their candidates or classes differ in number.
        """
        s, t = comparable(student, teacher)
        with torch.autocast(s.logits.device.type, enabled=False):
            return self.compare(s, t, targets, image_size)


def comparable(student: Knowledge, teacher: Knowledge) -> tuple[Predictions, Predictions]:
    """Return both predictions in at least float32, the teacher's detached.

    A teacher with other candidates, of another head or family, is matched to the student's; its
    own box outputs and distributions then say nothing here and are left out.

    Raises:
        ValueError: Predictions are missing, their classes differ in number, or the candidates
            differ and the student does not say which of them answer for a box.
    """
    s, t = student.predictions, teacher.predictions
    if s is None or t is None:
        who = "student" if s is None else "teacher"
        raise ValueError(f"the {who} has no predictions: its head was not run")
    if s.logits.shape[-1] != t.logits.shape[-1]:
        raise ValueError(
            f"the student has {s.logits.shape[-1]} classes, the teacher {t.logits.shape[-1]}"
        )
    s = _each(s, at_least_float32)
    t = _each(t, lambda x: at_least_float32(x.detach()))
    if level_counts(s) == level_counts(t):
        return s, t
    if student.answers is None:
        raise ValueError("the candidates differ, and nothing says which of them answer for a box")
    return s, match_candidates(s, t, student.answers)


def both(student: Tensor | None, teacher: Tensor | None, reason: str) -> tuple[Tensor, Tensor]:
    """Return a field that student and teacher must have.

    Raises:
        ValueError: One of them does not; the message is who, and ``reason``.
    """
    if student is None or teacher is None:
        raise ValueError(f"the {'student' if student is None else 'teacher'} {reason}")
    return student, teacher


def _each(predictions: Predictions, change: Callable[[Tensor], Tensor]) -> Predictions:
    fields = predictions._asdict().items()
    return predictions._replace(**{k: change(x) for k, x in fields if isinstance(x, Tensor)})
