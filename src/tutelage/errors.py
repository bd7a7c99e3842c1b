"""Errors that a user can act on: what is wrong, where, and the fix; one exit code per family."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar


class UserError(Exception):
    """Something the user can mend.

    Args:
        what: The problem with the offending value, e.g. ``bccd.yaml has no 'names'``.
        where: File and line, or the setting and the layer that set it. Optional.
        fix: Something to paste, or the nearest valid choice. Optional.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(
            " ".join(part for part in (what, f"({where})" if where else "", fix) if part)
        )


class ConfigError(UserError):
    """A setting or a command line that cannot be used."""

    exit_code = 2


class DataError(UserError):
    """A data set that cannot be used."""

    exit_code = 3


class MissingSplitError(DataError):
    """A data set without the split that was asked for."""


class WeightsError(UserError):
    """A checkpoint or a model that cannot be used."""

    exit_code = 4


class TeacherError(WeightsError):
    """A teacher that cannot teach this student on this data."""


class ExportError(UserError):
    """An export that failed or that disagrees with its checkpoint."""

    exit_code = 5


class MissingExtraError(UserError):
    """An optional package that is not installed; ``fix`` is its install command."""

    exit_code = 5


class TrainingError(UserError):
    """A run that had to stop; its last good files are kept."""


def nearest(word: str, choices: Iterable[object]) -> str:
    """Return ``Did you mean 'x'?`` for the closest choice, or an empty string."""
    known = [str(choice) for choice in choices]
    begun = [choice for choice in known if len(word) > 2 and choice.startswith(word)]
    found = begun[:1] or get_close_matches(word, known, n=1, cutoff=0.6)
    return f"Did you mean '{found[0]}'?" if found else ""
