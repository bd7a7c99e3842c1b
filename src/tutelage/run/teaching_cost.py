"""What the teachers of a run cost, from the rows of its metrics."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tutelage.setup.build import RunParts
from tutelage.teachers.stored import StoredTeachers


class TeachingCost(NamedTuple):
    """The time that a run spent on its teachers.

    Attributes:
        teacher: Seconds in which teachers were asked during training.
        store: Seconds of reading and writing stored answers, beside the loader's workers.
        measuring: Seconds of weighing the methods and of the checks before the first step.
        training: Seconds of training, all of these included.
        epochs: Number of epochs.
        asked: In how many of them teachers were asked; 2.5 is half of the third.
    """

    teacher: float
    store: float
    measuring: float
    training: float
    epochs: int
    asked: float

    @property
    def extra(self) -> float:
        """Seconds that a run without teachers saves; the methods' own arithmetic is not counted."""
        return self.teacher + self.store + self.measuring

    @property
    def share(self) -> float:
        """The extra time as a share of the rest."""
        return self.extra / max(self.training - self.extra, 1e-9)

    def to_dict(self) -> dict[str, float]:
        """Return all figures for the events and files."""
        rounded = {name: round(value, 3) for name, value in self._asdict().items()}
        return {**rounded, "extra": round(self.extra, 3), "share": round(self.share, 4)}


def read_teaching_cost(rows: Iterable[Mapping[str, Any]]) -> TeachingCost | None:
    """Return the cost of a run from the rows of ``metrics.jsonl``; None without a teacher."""
    rows = list(rows)
    if not any("kd" in row for row in rows):
        return None

    def total(key: str) -> float:
        return sum(float(row.get(key) or 0.0) for row in rows)

    return TeachingCost(
        teacher=total("teacher_seconds"),
        store=total("store_seconds"),
        measuring=total("measuring_seconds") + total("checking_seconds"),
        training=total("seconds") + total("checking_seconds"),
        epochs=len(rows),
        asked=sum(float(row.get("asked", "teacher_ms" in row)) for row in rows),
    )


def asked_by_checks(parts: RunParts) -> dict[str, float]:
    """Return what checks and measurements have asked since the last call and will find stored.

    Returns:
        For ``metrics.jsonl``: ``checks_asked``, the share of an epoch's images, and
        ``checks_teacher_seconds``; empty if nothing was asked.
    """
    teachers = parts.distillation.teachers if parts.distillation else None
    if not isinstance(teachers, StoredTeachers):
        return {}
    images = teachers.asked_images * parts.accelerator.num_processes
    seconds = teachers.take_cost().get("teacher_seconds", 0.0)
    if not images:
        return {}
    return {"checks_asked": images / len(parts.train), "checks_teacher_seconds": seconds}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a metrics file, without a line that was half written when its run died."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    rows: list[dict[str, Any]] = []
    for line in lines:
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict):
                rows.append(row)
    return rows
