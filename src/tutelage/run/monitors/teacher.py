"""Reports when the student passes its teacher, and when distillation ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tutelage.run.events import EpochDone, Evaluated, Event, Notice
from tutelage.run.preflight.teacher_scores import VAL_IMAGES
from tutelage.training.schedule import Schedule


class TeacherPassedMonitor:
    """Warns once when the student has become better than its best teacher.

    Args:
        records: Hold each teacher's scores, unless it was not evaluated.
        images: Number of val images.
    """

    def __init__(self, records: Sequence[Mapping[str, Any]], images: int) -> None:
        scores = [record["scores"]["AP"] for record in records if record.get("scores")]
        self._best = max(scores, default=None)
        self._note = f" on {VAL_IMAGES} val images" if images > VAL_IMAGES else ""

    def check(self, event: Event) -> Notice | None:
        """Compare an evaluation with the teacher's."""
        if not isinstance(event, Evaluated) or self._best is None:
            return None
        student, teacher = event.scores["AP"], self._best
        if not student > teacher or f"{student:.3f}" == f"{teacher:.3f}":  # equal as displayed
            return None
        self._best = None
        return Notice(
            "warning",
            f"The student (AP {student:.3f}) has passed the teacher ({teacher:.3f}{self._note}), "
            f"which may hold it back from here on. Next time: a better teacher, or  "
            f"--set distill.stop_epoch={event.epoch + 1}",
            "T30",
        )


def distillation_end(event: Event, schedule: Schedule, methods: Iterable[str]) -> Notice | None:
    """Report that distillation ends with the epoch of an event, before the run does."""
    if not isinstance(event, EpochDone) or event.epoch + 1 >= schedule.epochs:
        return None
    epoch, methods = event.epoch, tuple(methods)
    if not schedule.active(methods, epoch, 0) or schedule.active(methods, epoch + 1, 0):
        return None
    text = f"Distillation ends after epoch {epoch + 1}: the teacher rests from here on."
    return Notice("info", text)
