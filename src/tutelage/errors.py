"""Errors that a user can fix: what is wrong, where, the fix, a code; one exit status per family.

A code is a letter and two digits, e.g. ``D03``; ``tutelage explain D03`` explains it. All codes are
in :mod:`tutelage.cli.codes`. The code of a class is the general one of its family.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar


class UserError(Exception):
    """An error that the user can fix.

    Args:
        what: The problem with the offending value, e.g. ``bccd.yaml has no 'names'``.
        where: File and line, or the setting and the layer that set it. Optional.
        fix: Something to paste, or the nearest valid choice. Optional.
        code: Its code, if not the general one of the family.
    """

    exit_code: ClassVar[int] = 1
    code: str = "R00"

    def __init__(self, what: str, *, where: str = "", fix: str = "", code: str = "") -> None:
        self.what, self.where, self.fix, self.code = what, where, fix, code or type(self).code
        super().__init__(
            " ".join(part for part in (what, f"({where})" if where else "", fix) if part)
        )


class ConfigError(UserError):
    """An invalid setting or command line."""

    exit_code = 2
    code = "C00"


class DataError(UserError):
    """A data set that cannot be used."""

    exit_code = 3
    code = "D00"


class MissingSplitError(DataError):
    """A data set without the requested split."""

    code = "D23"


class WeightsError(UserError):
    """A checkpoint or a model that cannot be used."""

    exit_code = 4
    code = "W00"


class TeacherError(WeightsError):
    """A teacher that cannot be used with this student and data."""

    code = "T00"


class ExportError(UserError):
    """An export that failed or that differs from its checkpoint."""

    exit_code = 5
    code = "E00"


class MissingExtraError(UserError):
    """An optional package that is not installed; ``fix`` is its install command."""

    exit_code = 5
    code = "E19"


class TrainingError(UserError):
    """A run that stopped; its last good files are kept."""


# messages of CUDA, MPS, XPU and the CPU, of cuDNN, OpenCV, numpy and the system
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
    """Whether an error of any library means that a device or the machine is out of memory."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return not isinstance(error, UserError) and any(word in text for word in _OUT_OF_MEMORY)


# messages of torch about an ended loader process, and about a full /dev/shm
_KILLED = re.compile(r"DataLoader worker \(pid.*?\) (?:is killed by signal: ([\w ]+)|exited)")
_SHARED = re.compile(r"</?torch_|/dev/shm|shared memory|[Bb]us error")
_LOADING = "in DataLoader worker process"


def loader_error(error: BaseException) -> TrainingError | None:
    """Return an error if a loader process ran out of memory or was ended by the system, else None.

    Args:
        error: The exception of torch in the process that waits for batches.
    """
    if isinstance(error, UserError):
        return None
    text = " ".join(str(each) for each in (error, error.__cause__, error.__context__) if each)
    killed = [match.group(1) or "" for match in _KILLED.finditer(text)]
    fix = "Try fewer --workers, or omit --cache-images."
    if _SHARED.search(text):
        what = "Shared memory (/dev/shm), through which loader processes pass images, is full"
        fix = "Try fewer --workers, or a smaller --batch-size. In Docker:  --shm-size=8g"
    elif killed:
        signal = next(filter(None, killed), "").strip()
        what = f"A loader process was ended by the system{f' ({signal})' if signal else ''}"
        if signal in ("", "Killed"):
            what += ", as it does when the machine's memory runs out"
        else:
            fix = f"{fix} --workers 0  shows where."
    elif _LOADING in text and is_out_of_memory(error):
        what = "A loader process found no memory left on the machine"
    else:
        return None
    return TrainingError(f"{what}.", fix=fix, code="R34")


def combine_codes(codes: Iterable[str], family: str) -> tuple[str, tuple[str, ...]]:
    """Return the code of several errors in one message, and a prefix for each of them.

    Args:
        codes: Their codes. Equal codes need no prefixes.
        family: The code for different ones.
    """
    codes = tuple(codes)
    if len(set(codes)) == 1:
        return codes[0], ("",) * len(codes)
    return family, tuple(f"[{code}] " for code in codes)


def nearest(word: str, choices: Iterable[object]) -> str:
    """Return ``Did you mean 'x'?`` for the closest choice, or an empty string."""
    names = [str(choice) for choice in choices]
    completions = [name for name in names if len(word) > 2 and name.startswith(word)]
    best = completions[:1] or get_close_matches(word, names, n=1, cutoff=0.6)
    return f"Did you mean '{best[0]}'?" if best else ""
