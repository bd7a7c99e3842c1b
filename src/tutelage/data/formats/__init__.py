"""Data set formats: functions that open one split of a data set, by the suffix of its path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from tutelage.data.formats.build_index import OpenedSplit
from tutelage.data.formats.data_yaml import open_data_yaml
from tutelage.data.formats.split_folders import open_folder, open_json


class Opener(Protocol):
    """The signature of a format."""

    def __call__(self, path: Path, split: str, *, single_class: bool = False) -> OpenedSplit:
        """Open one split; findings are returned, not raised."""
        ...


FOLDER = "/"
FORMATS: Mapping[str, Opener] = {
    ".yaml": open_data_yaml,
    ".yml": open_data_yaml,
    ".json": open_json,
    FOLDER: open_folder,
}
