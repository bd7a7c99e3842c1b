"""Errors that a user can act on: what is wrong, where, the fix, a code; one exit status per family.

A code is a letter and two digits, e.g. ``D03``; ``tutelage explain D03`` tells more. The catalogue
of all codes is :mod:`tutelage.cli.codes`. Each family has one for what needs no page of its own.
"""

from __future__ import annotations

import re
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


# of torch's loaders: how a process of theirs ends, and what a full /dev/shm makes of a batch
_KILLED = re.compile(r"DataLoader worker \(pid.*?\) (?:is killed by signal: ([\w ]+)|exited)")
_SHARED = re.compile(r"</?torch_|/dev/shm|shared memory|[Bb]us error")
_LOADING = "in DataLoader worker process"


def loader_fault(error: BaseException) -> TrainingError | None:
    """Return what to tell if loader processes had no memory or were ended by the system, or None.

    Args:
        error: What torch says of it, in the process that waits for batches.
    """
    if isinstance(error, UserError):
        return None
    said = " ".join(str(each) for each in (error, error.__cause__, error.__context__) if each)
    killed = [match.group(1) or "" for match in _KILLED.finditer(said)]
    if _SHARED.search(said):
        what = "Shared memory (/dev/shm), through which loader processes pass images, is full"
        fix = "Try fewer --workers, or a smaller --batch-size. In Docker:  --shm-size=8g"
    elif killed:
        signal = next(filter(None, killed), "").strip()
        what = f"A loader process was ended by the system{f' ({signal})' if signal else ''}"
        fix = "Try fewer --workers, or leave out --cache-images."
        if signal in ("", "Killed"):
            what += ", as it does when the machine's memory runs out"
        else:
            fix = f"{fix} With  --workers 0  it can be seen where."
    elif _LOADING in said and is_out_of_memory(error):
        what = "A loader process found no memory left on the machine"
        fix = "Try fewer --workers, or leave out --cache-images."
    else:
        return None
    return TrainingError(f"{what}.", fix=fix, code="R34")


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
