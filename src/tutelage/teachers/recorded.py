"""A teacher that is not there: what it is, for a run that reads all its answers from a store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from tutelage.errors import ConfigError, TeacherError
from tutelage.structures import Knowledge, Tap
from tutelage.teachers.teacher import Teacher

FILE = "teacher.json"


def describe_teacher(teacher: Teacher) -> dict[str, Any]:
    """Return what a :class:`RecordedTeacher` is made of, as values for JSON."""
    return {
        "title": teacher.title,
        "names": list(teacher.names),
        "taps": [list(tap) for tap in teacher.taps],
        "stride": teacher.stride,
        "record": {key: value for key, value in teacher.record.items() if key != "scores"},
    }


class RecordedTeacher:
    """Stands for a teacher whose answers are all stored; it cannot be asked.

    Args:
        description: What :func:`describe_teacher` returned.
        where: The store, for messages.
    """

    def __init__(self, description: Mapping[str, Any], where: Path) -> None:
        self.title: str = description["title"]
        self.names: tuple[str, ...] = tuple(description["names"])
        self.taps: tuple[Tap, ...] = tuple(Tap(*tap) for tap in description["taps"])
        self.stride: int = description["stride"]
        self.record: dict[str, Any] = dict(description["record"])
        self.where = where

    def __call__(self, images: Tensor, *, predictions: bool = False) -> Knowledge:
        """Refuse.

        Raises:
            TeacherError: Always.
        """
        raise TeacherError(
            f"The store {self.where} lacks an answer of {self.title}, and a store cannot be asked.",
            fix="Fill it:  tutelage teach  with the settings of this run, or give the teacher "
            "itself:  --teacher-weights FILE",
            code="T40",
        )

    def sharing(self, keys: Sequence[str]) -> RecordedTeacher:
        """Return the same teacher with other taps, in the order of ``keys``.

        Raises:
            ConfigError: A layer was not stored.
        """
        known = {tap.key: tap for tap in self.taps}
        missing = [key for key in keys if key not in known]
        if missing:
            raise ConfigError(
                f"The store {self.where} knows the layers {' '.join(known)} of {self.title}, not "
                f"{' '.join(missing)}.",
                code="T06",
            )
        other = RecordedTeacher.__new__(RecordedTeacher)
        other.__dict__.update(self.__dict__)
        other.taps = tuple(known[key] for key in keys)
        return other

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """Yield nothing: it has no weights."""
        return iter(())
