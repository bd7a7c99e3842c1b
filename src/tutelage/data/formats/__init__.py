"""Data set formats: each a function from a path and a split to what is there, by the suffix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from tutelage.data.formats.build_index import OpenedSplit
from tutelage.data.formats.described import open_described
from tutelage.data.formats.split_folders import open_folder, open_json


class Opener(Protocol):
    """What a format is."""

    def __call__(self, path: Path, split: str, *, single_class: bool = False) -> OpenedSplit:
        """Open one split; findings are collected, not raised."""
        ...


FOLDER = "/"
FORMATS: Mapping[str, Opener] = {
    ".yaml": open_described,
    ".yml": open_described,
    ".json": open_json,
    FOLDER: open_folder,
}
