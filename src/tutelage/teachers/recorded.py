"""A teacher that is not in memory: what it is, for a run that reads its answers from a store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tutelage.errors import ConfigError, TeacherError
from tutelage.sanitise import json_values
from tutelage.structures import Knowledge, Tap
from tutelage.teachers.response_records import Grid, ResponseFormat
from tutelage.teachers.teacher import Teacher

FILE = "teacher.json"
_KNOWN = ("source", "weights", "sha256", "content", "image_size", "scores")


def describe_teacher(teacher: Teacher, responses: ResponseFormat | None) -> dict[str, Any]:
    """Return what a :class:`RecordedTeacher` is made of, as values for JSON.

    Args:
        teacher: The teacher.
        responses: The form of its predictions, if they are known.
    """
    return {
        "title": teacher.title,
        "names": list(teacher.names),
        "taps": [list(tap) for tap in teacher.taps],
        "stride": teacher.stride,
        "record": {key: teacher.record[key] for key in _KNOWN if key in teacher.record},
        "responses": None if responses is None else json_values(responses),
    }


class RecordedTeacher:
    """Stands for a teacher whose answers are stored.

    Args:
        description: What :func:`describe_teacher` returned.
        where: The store, for messages.
        load: Loads the teacher itself when it is asked all the same; None: it cannot be had.
        network: Its network without weights, on the meta device, to describe it; None: not known.

    Attributes:
        network: As given.
        responses: The form of its predictions, if they are known.
    """

    def __init__(
        self,
        description: Mapping[str, Any],
        where: Path,
        load: Callable[[], Teacher] | None = None,
        network: nn.Module | None = None,
    ) -> None:
        self.network = network
        self.title: str = description["title"]
        self.names: tuple[str, ...] = tuple(description["names"])
        self.taps: tuple[Tap, ...] = tuple(Tap(*tap) for tap in description["taps"])
        self.stride: int = description["stride"]
        self.record: dict[str, Any] = dict(description["record"])
        form = description["responses"]
        self.responses: ResponseFormat | None = None
        if form is not None:
            grids = form["grids"] and tuple(Grid(**grid) for grid in form["grids"])
            self.responses = ResponseFormat(**{**form, "grids": grids})
        self.where, self._load = where, load
        self._loaded: Teacher | None = None

    def __call__(self, images: Tensor, *, predictions: bool = False) -> Knowledge:
        """Ask the teacher itself.

        Raises:
            TeacherError: It cannot be had.
        """
        if self._load is None:
            raise TeacherError(
                f"The store {self.where} lacks an answer of {self.title}, and a store cannot be "
                "asked.",
                fix="Fill it:  tutelage teach  with the settings of this run and the teacher's own "
                "weights, or train with these:  --teacher-weights FILE",
                code="T45",
            )
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded(images, predictions=predictions)

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
                fix="Give the teacher itself:  --teacher-weights FILE",
                code="T06",
            )
        other = RecordedTeacher.__new__(RecordedTeacher)
        other.__dict__.update(self.__dict__)
        other.taps = tuple(known[key] for key in keys)
        return other

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """Yield nothing: its weights are not in memory."""
        return iter(())


def load_recorded(folder: Path) -> RecordedTeacher:
    """Return the teacher that filled a store.

    Raises:
        TeacherError: The file that describes it is missing or damaged.
    """
    try:
        return RecordedTeacher(json.loads((folder / FILE).read_text()), folder)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise TeacherError(
            f"{folder / FILE} does not describe a teacher: {error}.",
            fix="Give the teacher itself:  --teacher-weights FILE",
            code="T45",
        ) from error
