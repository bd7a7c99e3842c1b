"""Errors that a user can act on: what is wrong, where, the fix, a code; one exit status per family.

A code is a letter and two digits, e.g. ``D03``; ``tutelage explain D03`` tells more. The catalogue
of all codes is :mod:`tutelage.cli.codes`. Each family has one for what needs no page of its own.
"""

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
        code: Where the catalogue tells more, if not where the family as a whole is.
    """

    exit_code: ClassVar[int] = 1
    code: str = "R00"

    def __init__(self, what: str, *, where: str = "", fix: str = "", code: str = "") -> None:
        self.what, self.where, self.fix, self.code = what, where, fix, code or type(self).code
        super().__init__(
            " ".join(part for part in (what, f"({where})" if where else "", fix) if part)
        )


class ConfigError(UserError):
    """A setting or a command line that cannot be used."""

    exit_code = 2
    code = "C00"


class DataError(UserError):
    """A data set that cannot be used."""

    exit_code = 3
    code = "D00"


class MissingSplitError(DataError):
    """A data set without the split that was asked for."""

    code = "D23"


class WeightsError(UserError):
    """A checkpoint or a model that cannot be used."""

    exit_code = 4
    code = "W00"


class TeacherError(WeightsError):
    """A teacher that cannot teach this student on this data."""

    code = "T00"


class ExportError(UserError):
    """An export that failed or that disagrees with its checkpoint."""

    exit_code = 5
    code = "E00"


class MissingExtraError(UserError):
    """An optional package that is not installed; ``fix`` is its install command."""

    exit_code = 5
    code = "E19"


class TrainingError(UserError):
    """A run that had to stop; its last good files are kept."""


# what is said on CUDA, MPS, XPU and the CPU, by cuDNN, OpenCV, numpy and the system
_OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "unable to allocate",
    "insufficient memory",
    "alloc_failed",
    "fatal error :: malloc",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether a device or the machine has no memory left, whatever library says so."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return not isinstance(error, UserError) and any(word in text for word in _OUT_OF_MEMORY)


def together(codes: Iterable[str], family: str) -> tuple[str, tuple[str, ...]]:
    """Return the code of faults that are told together, and what each of them begins with.

    Args:
        codes: Their codes. If all are the same, it is told once.
        family: The code for faults of several kinds.
    """
    codes = tuple(codes)
    if len(set(codes)) == 1:
        return codes[0], ("",) * len(codes)
    return family, tuple(f"[{code}] " for code in codes)


def nearest(word: str, choices: Iterable[object]) -> str:
    """Return ``Did you mean 'x'?`` for the closest choice, or an empty string."""
    known = [str(choice) for choice in choices]
    begun = [choice for choice in known if len(word) > 2 and choice.startswith(word)]
    found = begun[:1] or get_close_matches(word, known, n=1, cutoff=0.6)
    return f"Did you mean '{found[0]}'?" if found else ""
