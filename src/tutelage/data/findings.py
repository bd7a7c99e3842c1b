"""Findings: the problems and facts that opening or checking a data set reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from tutelage.errors import DataError

Severity = Literal["error", "warning", "info"]

EXAMPLES = 20


@dataclass(frozen=True)
class Finding:
    """A problem or fact about a data set; all cases of one kind together.

    Attributes:
        code: Stable short name, e.g. ``label-pixels``.
        severity: ``error``: training would crash or learn garbage; ``warning``: it likely suffers;
            ``info``: a fact.
        message: What is wrong, with one example.
        examples: The first cases, e.g. ``labels/train/044.txt:3 "0 312 205 96 88"``.
        count: The number of cases.
        fix: What to do, or a command or line to paste; may be empty.
    """

    code: str
    severity: Severity
    message: str
    examples: tuple[str, ...]
    count: int
    fix: str = ""


# error code of each finding; others: D00
CODES: Mapping[str, str] = {
    "labels-missing": "D02",
    "label-malformed": "D03",
    "label-not-a-number": "D03",
    "label-class-number": "D03",
    "label-range": "D03",
    "label-pixels": "D03",
    "label-shares": "D03",
    "label-frame": "D03",
    "label-column": "D03",
    "label-key-points": "D03",
    "label-class": "D04",
    "names-differ": "D04",
    "names-similar": "D04",
    "image-unusable": "D24",
    "image-outside": "D24",
    "labels-empty": "D26",
    "image-dark": "D35",
    "unlabelled-val": "D34",
    "unlabelled-test": "D34",
}


def code_of(finding: Finding) -> str:
    """Return the error code of a finding, for ``tutelage explain``, e.g. ``D03``."""
    return CODES.get(finding.code, DataError.code)


def summarise(
    code: str,
    severity: Severity,
    what: str,
    cases: Iterable[str],
    count: int,
    fix: str = "",
    *,
    of: int | None = None,
) -> Finding:
    """Return a finding with the message ``what: count of all, e.g. the first case``.

    Args:
        code: Its short name.
        severity: Its severity.
        what: What the cases are, e.g. ``Images without a box``.
        cases: At least one, e.g. a file and a line.
        count: How many there are.
        fix: What to do.
        of: The number of possible cases, if the message shall state it.
    """
    examples = first_cases(cases)
    total = "" if of is None else f" of {of} ({100 * count / of:.0f} %)"
    return Finding(
        code, severity, f"{what}: {count}{total}, e.g. {examples[0]}.", examples, count, fix
    )


def first_cases(cases: Iterable[str]) -> tuple[str, ...]:
    """Return the first ``EXAMPLES`` cases."""
    return tuple(islice(cases, EXAMPLES))
