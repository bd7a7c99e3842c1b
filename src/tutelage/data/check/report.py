"""The examination of a data set: all checks, split by split, and what they found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tutelage.data.check.boxes import notice_balance, notice_names, notice_tiny
from tutelage.data.check.duplicates import Duplicates, find_twins, notice_twins
from tutelage.data.check.image_stats import ImageStats, look, notice_looks
from tutelage.data.check.label_encoding import notice_encodings
from tutelage.data.check.stray_files import notice_links, notice_orphans
from tutelage.data.findings import Finding
from tutelage.data.formats.build_index import OpenedSplit
from tutelage.data.open_data import Split, open_whole
from tutelage.errors import DataError, MissingSplitError

SPLITS: tuple[Split, ...] = ("train", "val", "test")


class SplitFinding(NamedTuple):
    """A finding and the split that it is about; empty if it is about several."""

    split: str
    finding: Finding


@dataclass(frozen=True, eq=False)
class DataReport:
    """What an examination found.

    Attributes:
        data: What the user named.
        splits: The splits that could be opened.
        noticed: All findings: of each split, then of several.
        looks: Of each split.
        twins: Images that are there twice, numbered through all splits.
    """

    data: str
    splits: tuple[OpenedSplit, ...]
    noticed: tuple[SplitFinding, ...]
    looks: tuple[ImageStats, ...]
    twins: Duplicates

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(one.finding.severity == "error" for one in self.noticed)


def _silent(_: str, __: int, ___: int) -> None:
    """Show no progress."""


def examine(
    data: str | Path,
    splits: Sequence[Split] = SPLITS,
    *,
    image_size: int = 640,
    progress: Callable[[str, int, int], None] = _silent,
) -> DataReport:
    """Examine a data set: every image is read, every label judged. Nothing is written.

    Args:
        data: What ``--data`` takes.
        splits: Those to look at; of several, those that the data set has.
        image_size: Size at which boxes may be too small.
        progress: Is told the split, how many more images were looked at, and how many there are.

    Raises:
        DataError: No split can be opened.
    """
    opened, noticed = _open(data, splits)
    looks: list[ImageStats] = []
    for one in opened:
        listed = one.listed
        looks.append(look(listed.images, lambda n, s=listed: progress(s.split, n, len(s.images))))
        findings = [
            *one.index.findings,
            *notice_looks(one, looks[-1]),
            *notice_encodings(one),
            *notice_tiny(one, image_size),
            *notice_balance(one),
        ]
        noticed += [SplitFinding(listed.split, finding) for finding in findings]
    twins = find_twins(looks)
    noticed += [SplitFinding("", finding) for finding in _of_all(opened, twins)]
    return DataReport(str(data), tuple(opened), tuple(noticed), tuple(looks), twins)


def _of_all(opened: Sequence[OpenedSplit], twins: Duplicates) -> Iterator[Finding]:
    yield from notice_names(opened)
    yield from notice_twins(opened, twins)
    yield from notice_orphans(opened)
    yield from notice_links(opened)


def _open(
    data: str | Path, splits: Sequence[Split]
) -> tuple[list[OpenedSplit], list[SplitFinding]]:
    opened: list[OpenedSplit] = []
    noticed: list[SplitFinding] = []
    problems: list[DataError] = []
    for split in splits:
        try:
            opened.append(open_whole(data, split))
        except DataError as error:
            problems.append(error)
            if not isinstance(error, MissingSplitError):
                finding = Finding("split-unusable", "error", error.what, (), 1, error.fix)
                noticed.append(SplitFinding(split, finding))
    if not opened:
        raise problems[0]
    return opened, noticed
