"""Data set formats: each a function from a path and a split to an index, found by the suffix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from tutelage.data.formats.yolo import open_yolo
from tutelage.data.index import DatasetIndex


class Opener(Protocol):
    """What a format is."""

    def __call__(self, path: Path, split: str, *, single_class: bool = False) -> DatasetIndex:
        """Index one split; findings are collected, not raised."""
        ...


FORMATS: Mapping[str, Opener] = {
    ".yaml": open_yolo,
    ".yml": open_yolo,
}
