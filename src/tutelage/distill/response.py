"""Methods that compare the predictions of two networks, candidate by candidate."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from tutelage.distill.candidate_matching import match_candidates
from tutelage.distill.method import HeightWidth, Method, Need
from tutelage.distill.scores import level_counts
from tutelage.losses.boxes import at_least_float32
from tutelage.structures import Knowledge, Predictions, Targets


class ResponseMethod(Method):
    """A method that compares predictions at the student's candidates, with equal classes.

    Half precision is cast to float32 and autocast is off: areas in pixels exceed the range of
    float16. float64 stays.

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
        s, t = comparable_predictions(student, teacher)
        with torch.autocast(s.logits.device.type, enabled=False):
            return self.compare(s, t, targets, image_size)


def comparable_predictions(
    student: Knowledge, teacher: Knowledge
) -> tuple[Predictions, Predictions]:
    """Return both predictions in at least float32, the teacher's detached.

    If the candidates differ, the teacher's are replaced by :func:`match_candidates`, which leaves
    out raw box outputs and bins. So they are if those of the student belong to no cells, like the
    queries of a transformer: what the n-th of them is about differs from image to image. A box of
    the teacher that is not known becomes the student's own, and so do its distributions.

    Raises:
        ValueError: Predictions are missing, their classes differ in number, or the candidates
            differ and the student cannot assign boxes to its own.
    """
    s, t = student.predictions, teacher.predictions
    if s is None or t is None:
        who = "student" if s is None else "teacher"
        raise ValueError(f"the {who} has no predictions: its head was not run")
    if s.logits.shape[-1] != t.logits.shape[-1]:
        raise ValueError(
            f"the student has {s.logits.shape[-1]} classes, the teacher {t.logits.shape[-1]}"
        )
    s = _map_tensors(s, at_least_float32)
    t = _map_tensors(t, lambda x: at_least_float32(x.detach()))
    placed = s.grids is not None or student.answers is None
    if placed and level_counts(s) == level_counts(t):
        if (known := t.known) is not None:
            t = t._replace(xyxy=torch.where(known[..., None], t.xyxy, s.xyxy.detach()))
            if t.bins is not None and s.bins is not None and t.bins.shape == s.bins.shape:
                bins = torch.where(known[..., None, None], t.bins, s.bins.detach())
                t = t._replace(bins=bins)
        return s, t
    if student.answers is None:
        raise ValueError("the candidates differ, and the student cannot assign boxes to its own")
    return s, match_candidates(s, t, student.answers, teacher.threshold)


def at_known(student: Predictions, teacher: Predictions) -> tuple[Predictions, Predictions]:
    """Return both predictions at the candidates that are known of the teacher alone.

    Of background, nothing but its objectness teaches. Without objectness its classes do, so that
    all candidates are returned; also if all are known.

    Returns:
        Classes, objectness and boxes, ``(1, m)``, or both predictions as they are.
    """
    if teacher.known is None or teacher.objectness is None or student.objectness is None:
        return student, teacher
    place = teacher.known.flatten().nonzero()[:, 0]

    def rows(predictions: Predictions) -> Predictions:
        def pick(values: Tensor) -> Tensor:
            return values.flatten(0, 1).index_select(0, place)[None]

        return Predictions(
            xyxy=pick(predictions.xyxy),
            logits=pick(predictions.logits),
            objectness=None if predictions.objectness is None else pick(predictions.objectness),
            level=predictions.level[(place % len(predictions.level)).cpu()],
        )

    return rows(student), rows(teacher)


def require_both(
    student: Tensor | None, teacher: Tensor | None, reason: str
) -> tuple[Tensor, Tensor]:
    """Return a field that student and teacher must have.

    Raises:
        ValueError: One of them lacks it; the message is its role and ``reason``.
    """
    if student is None or teacher is None:
        raise ValueError(f"the {'student' if student is None else 'teacher'} {reason}")
    return student, teacher


def _map_tensors(predictions: Predictions, cast: Callable[[Tensor], Tensor]) -> Predictions:
    fields = predictions._asdict().items()
    floating = {k: x for k, x in fields if isinstance(x, Tensor) and x.is_floating_point()}
    return predictions._replace(**{k: cast(x) for k, x in floating.items()})
