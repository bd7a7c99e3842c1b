"""Runs all checks on a data set and collects their findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tutelage.data.bit_depth import ImageRange
from tutelage.data.check.boxes import (
    check_class_balance,
    check_class_names,
    check_similar_names,
    check_tiny_boxes,
)
from tutelage.data.check.duplicates import Duplicates, check_duplicates, find_duplicates
from tutelage.data.check.image_stats import ImageStats, check_image_files, read_image_stats
from tutelage.data.check.label_encoding import check_label_encoding
from tutelage.data.check.stray_files import check_links, check_orphan_labels
from tutelage.data.findings import Finding
from tutelage.data.formats.build_index import OpenedSplit
from tutelage.data.index import SPLITS, Split
from tutelage.data.opening import open_split
from tutelage.errors import DataError, MissingSplitError


class SplitFinding(NamedTuple):
    """A finding and its split; empty if it concerns several splits."""

    split: str
    finding: Finding


@dataclass(frozen=True, eq=False)
class DataReport:
    """The result of a check.

    Attributes:
        data: The data set as the user gave it.
        splits: The splits that could be opened.
        findings: Those of each split, then those of several.
        image_stats: Of each split.
        duplicates: Pairs of images, numbered through all splits.
    """

    data: str
    splits: tuple[OpenedSplit, ...]
    findings: tuple[SplitFinding, ...]
    image_stats: tuple[ImageStats, ...]
    duplicates: Duplicates

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(one.finding.severity == "error" for one in self.findings)


def examine(
    data: str | Path,
    splits: Sequence[Split] = SPLITS,
    *,
    image_size: int = 640,
    image_range: ImageRange | None = None,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> DataReport:
    """Check a data set: decodes every image and checks every label. Writes nothing.

    Args:
        data: A value of ``--data``.
        splits: The splits to check; missing ones are skipped if at least one can be opened.
        image_size: Training size at which boxes may be too small.
        image_range: The values that are black and white in images of more than 8 bits.
        progress: Called with the split, the number of images just decoded, and their total.

    Raises:
        DataError: No split can be opened.
    """
    opened_splits, findings = _open_splits(data, splits)
    image_stats: list[ImageStats] = []
    for opened in opened_splits:
        files = opened.listing
        stats = read_image_stats(
            files.images, lambda n, f=files: progress(f.split, n, len(f.images)), image_range
        )
        image_stats.append(stats)
        checks = [
            *opened.index.findings,
            *check_image_files(opened, stats),
            *check_label_encoding(opened),
            *check_tiny_boxes(opened, image_size),
            *check_class_balance(opened),
        ]
        findings += [SplitFinding(files.split, finding) for finding in checks]
    duplicates = find_duplicates(image_stats)
    checks = [
        *check_class_names(opened_splits),
        *check_similar_names(opened_splits[0].index.names),
        *check_duplicates(opened_splits, duplicates),
        *check_orphan_labels(opened_splits),
        *check_links(opened_splits),
    ]
    findings += [SplitFinding("", finding) for finding in checks]
    return DataReport(
        str(data), tuple(opened_splits), tuple(findings), tuple(image_stats), duplicates
    )


def _open_splits(
    data: str | Path, splits: Sequence[Split]
) -> tuple[list[OpenedSplit], list[SplitFinding]]:
    opened: list[OpenedSplit] = []
    findings: list[SplitFinding] = []
    errors: list[DataError] = []
    for split in splits:
        try:
            opened.append(open_split(data, split))
        except DataError as error:
            errors.append(error)
            if not isinstance(error, MissingSplitError):
                finding = Finding("split-unusable", "error", error.what, (), 1, error.fix)
                findings.append(SplitFinding(split, finding))
    if not opened:
        raise errors[0]
    return opened, findings
