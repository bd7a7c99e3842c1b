"""What a store holds, and whether it is intact."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import TeacherError
from tutelage.store import shard as s
from tutelage.store.folder import open_store
from tutelage.store.records import RecordReader


class StoreSummary(NamedTuple):
    """What a store holds.

    Attributes:
        path: Its folder.
        description: What its records depend on; empty if it cannot be read.
        records: How many pairs of view and image have a record.
        views: How many views have one.
        complete: The share of these views' images that have one; None if the description does not
            say how many images there are.
        bytes: Of all files.
        changed: Seconds since 1970 of the last change.
        problem: Why it cannot be opened, or empty.
    """

    path: Path
    description: dict[str, Any]
    records: int
    views: int
    complete: float | None
    bytes: int
    changed: float
    problem: str

    def values(self) -> dict[str, Any]:
        """Return it as JSON values."""
        changed = datetime.fromtimestamp(self.changed).astimezone().isoformat(timespec="seconds")
        return self._asdict() | {"path": str(self.path), "changed": changed}


class Verification(NamedTuple):
    """What reading all records found.

    Attributes:
        records: How many pairs of view and image were read.
        damaged: View and image of those whose record is damaged.
        damaged_rows: Damaged rows of indices; which records they were is not known.
        unreadable: Index files without any valid row.
    """

    records: int
    damaged: list[tuple[int, int]]
    damaged_rows: int
    unreadable: list[str]


def summarise(path: Path) -> StoreSummary:
    """Return what a store holds; of payloads only their number and sizes are read."""
    try:
        description, problem = open_store(path).description, ""
    except TeacherError as error:
        description, problem = {}, error.what
    files = list(_file_stats(path))
    keys = np.zeros((0, 2), np.uint32)
    if not problem:
        try:
            keys = stored_keys(path)[0]
        except TeacherError as error:
            problem = error.what
    views = len(np.unique(keys[:, 0]))
    images = description.get("images")
    expected = images * max(views, 1) if isinstance(images, int) else 0
    return StoreSummary(
        path=path,
        description=description,
        records=len(keys),
        views=views,
        complete=len(keys) / expected if expected else None,
        bytes=sum(file.st_size for file in files),
        changed=max((file.st_mtime for file in files), default=0.0),
        problem=problem,
    )


def _file_stats(folder: Path) -> Iterator[os.stat_result]:
    for file in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # removed in the meantime
            yield file.stat()


def stored_keys(path: Path) -> tuple[NDArray[np.uint32], list[str]]:
    """Return view and image of all records, (n, 2), and the index files without a valid row.

    The records are in the order in which they lie on the disk, so that they are read in one go.

    Raises:
        TeacherError: A later version of tutelage wrote one of the files.
    """
    rows, unreadable = [np.zeros(0, s.ROW)], []
    for index in sorted(path.glob(f"*{s.INDEX}")):
        found = s.read_rows(index, 0)[0]
        rows.append(found)
        if not len(found) and index.stat().st_size >= s.HEADER_BYTES + s.ROW.itemsize:
            unreadable.append(index.name)
    every = np.concatenate(rows)
    keys = np.stack((every["view"], every["image"]), axis=1)
    packed = every["view"].astype(np.uint64) << np.uint64(32) | every["image"]
    return keys[np.sort(np.unique(packed, return_index=True)[1])], unreadable


def verify(path: Path, progress: Callable[[int, int], object]) -> Verification:
    """Read all records of a store. Changes nothing.

    Args:
        path: Its folder.
        progress: Called now and then with the records read and their total number.

    Raises:
        TeacherError: It cannot be opened.
    """
    open_store(path)
    keys, unreadable = stored_keys(path)
    reader = RecordReader(path, int(keys[:, 1].max()) + 1 if len(keys) else 0)
    damaged: list[tuple[int, int]] = []
    for number, (view, image) in enumerate(keys.tolist()):
        if reader.read(view, image) is None:
            damaged.append((view, image))
        if number % 1000 == 0:
            progress(number, len(keys))
    reader.close()
    progress(len(keys), len(keys))
    return Verification(len(keys), sorted(damaged), reader.damaged_rows, unreadable)
