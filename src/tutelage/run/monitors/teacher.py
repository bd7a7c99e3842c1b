"""Reports when the student passes its teacher, and when distillation ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tutelage.run.events import EpochDone, Evaluated, Event, Notice
from tutelage.run.preflight.teacher_scores import VAL_IMAGES
from tutelage.train.schedule import Schedule


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


class DistillationEndMonitor:
    """Reports when distillation ends before the run does.

    Args:
        plan: The schedule.
        methods: The names of the methods.
    """

    def __init__(self, plan: Schedule, methods: Iterable[str]) -> None:
        self._plan, self._methods = plan, tuple(methods)

    def check(self, event: Event) -> Notice | None:
        """Compare the methods of this epoch with those of the next."""
        if not isinstance(event, EpochDone) or event.epoch + 1 >= self._plan.epochs:
            return None
        now, then = (
            self._plan.active(self._methods, epoch, 0) for epoch in (event.epoch, event.epoch + 1)
        )
        if not now or then:
            return None
        text = f"Distillation ends after epoch {event.epoch + 1}: the teacher rests from here on."
        return Notice("info", text)
