"""Records of a store: payloads by view and image, appended and read by any number of processes.

Nothing is locked and nothing is rewritten: each process appends to a shard of its own. A process
that is killed leaves at worst a torn end, and damage shows by checksums: reading leaves both out.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.store import shard as s

OPEN_FILES = 128  # of a reader; many systems allow a process 1024, some 256

_PLACE = np.dtype([("offset", "<u8"), ("length", "<u4"), ("checksum", "<u4"), ("shard", "<i4")])
_ABSENT = np.array((0, 0, 0, -1), _PLACE)


class RecordReader:
    """Reads the records of a folder; a copy in another process opens the files itself.

    Of several records of a view and image the latest counts, and if that is damaged the one before.

    Args:
        folder: The folder; it may be read-only, empty or missing.
        images: Number of images of the data set.

    Raises:
        TeacherError: A later version of tutelage wrote one of the files.
    """

    # os.pread, no mapped memory: a file that is cut off would end the process with SIGBUS.

    def __init__(self, folder: Path, images: int) -> None:
        self._folder, self._images = folder, images
        self._shards: dict[str, int] = {}  # name -> rows that were read
        self._age = np.zeros(0, np.int64)  # of each shard: its place in the order of names
        self._places: dict[int, NDArray[np.void]] = {}  # by view: (images,), dtype _PLACE
        self._replaced: list[tuple[int, NDArray[np.uint32], NDArray[np.void]]] = []
        self._handles: dict[int, int] = {}
        self._process = os.getpid()
        self.damaged_rows = 0
        self.refresh()

    def __reduce__(self) -> tuple[type[RecordReader], tuple[Path, int]]:
        return RecordReader, (self._folder, self._images)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; reading opens them again."""
        while self._handles:
            os.close(self._handles.popitem()[1])

    def refresh(self) -> None:
        """Take in what any process has appended since.

        Raises:
            TeacherError: A later version of tutelage wrote one of the files.
        """
        try:
            names = sorted(p.stem for p in self._folder.iterdir() if p.suffix == s.INDEX)
        except OSError:
            return
        if new := [name for name in names if name not in self._shards]:
            self._shards |= dict.fromkeys(new, 0)
            self._age = np.argsort(np.argsort(np.array(list(self._shards))))
        for number, (name, start) in enumerate(self._shards.items()):
            try:
                rows, end, damaged = s.read_rows(self._folder / f"{name}{s.INDEX}", start)
            except OSError:
                continue
            self._shards[name] = end
            self.damaged_rows += damaged
            rows = rows[rows["image"] < self._images]
            for view in np.unique(rows["view"]).tolist():
                self._take(view, rows[rows["view"] == view], number)

    def _take(self, view: int, rows: NDArray[np.void], shard: int) -> None:
        """Take in rows of one view and shard."""
        if view not in self._places:
            self._places[view] = np.full(self._images, _ABSENT)
        table, images = self._places[view], rows["image"]
        places = np.zeros(len(rows), _PLACE)
        for field in ("offset", "length", "checksum"):
            places[field] = rows[field]
        places["shard"] = shard
        last = len(rows) - 1 - np.unique(images[::-1], return_index=True)[1]
        latest = np.zeros(len(rows), bool)
        latest[last] = True
        before = table[images]
        known = before["shard"] >= 0
        latest &= ~known | (self._age[before["shard"]] <= self._age[shard])
        table[images[latest]] = places[latest]
        for replaced, of in ((before, known & latest), (places, ~latest)):
            if of.any():
                self._replaced.append((view, images[of], replaced[of]))

    def read(self, view: int, image: int) -> bytes | None:
        """Return a payload, or None if there is no record or it is damaged."""
        table = self._places.get(view)
        if table is None:
            return None
        payload = self._payload(table[image])
        if payload is None and self._replaced:
            for place in self._earlier(view, image):
                payload = self._payload(place)
                if payload is not None:
                    break
        return payload

    def _earlier(self, view: int, image: int) -> list[Any]:
        """Return the places of the replaced records of a view and image, the latest first."""
        places = [p for v, i, ps in self._replaced if v == view for p in ps[i == image]]
        return sorted(places, key=lambda p: (self._age[p["shard"]], p["offset"]), reverse=True)

    def _payload(self, place: Any) -> bytes | None:
        offset, length, checksum, shard = place.item()
        if shard < 0:
            return None
        try:
            payload = _read_at(self._handle(shard), length, offset)
        except OSError:
            return None
        return payload if zlib.crc32(payload) == checksum else None

    def _handle(self, shard: int) -> int:
        if self._process != os.getpid():  # forked: these are the handles of the other process
            self.close()
            self._process = os.getpid()
        if shard not in self._handles:
            if len(self._handles) >= OPEN_FILES:
                os.close(self._handles.pop(next(iter(self._handles))))
            path = self._folder / f"{list(self._shards)[shard]}{s.RECORDS}"
            self._handles[shard] = os.open(path, os.O_RDONLY | s.BINARY)
        return self._handles[shard]

    def present(self, view: int) -> NDArray[np.bool_]:
        """Return which images of a view have a record, (images,); payloads are not read."""
        table = self._places.get(view)
        return np.zeros(self._images, bool) if table is None else table["shard"] >= 0

    def count(self) -> int:
        """Return how many pairs of view and image have a record."""
        return sum(int(np.count_nonzero(self.present(view))) for view in self._places)


class RecordWriter:
    """Appends records to a shard of its own; creates it with the first record.

    Args:
        folder: The folder of the store.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._handles: tuple[int, int] | None = None  # of the payloads, of the index
        self._process = os.getpid()

    def __reduce__(self) -> tuple[type[RecordWriter], tuple[Path]]:
        return RecordWriter, (self._folder,)

    def append(self, view: Sequence[int], image: Sequence[int], payloads: Sequence[bytes]) -> None:
        """Append records; after an error the writer can be used again.

        Args:
            view: The view of each record, 0 … 2³² - 1.
            image: The image of each, likewise.
            payloads: The payload of each, less than 2 GiB.

        Raises:
            OSError: There is no room, or no permission to write.
        """
        if not payloads:
            return
        records, index = self._open()
        end = os.fstat(records).st_size
        rows = np.zeros(len(payloads), s.ROW)
        rows["view"], rows["image"] = view, image
        rows["length"] = lengths = np.array([len(payload) for payload in payloads], np.uint64)
        rows["offset"] = end + np.cumsum(lengths) - lengths
        rows["checksum"] = [zlib.crc32(payload) for payload in payloads]
        rows["row_checksum"] = s.row_checksums(rows)
        size = os.fstat(index).st_size
        if torn := (size - s.HEADER_BYTES) % s.ROW.itemsize:  # the last append failed
            os.ftruncate(index, size - torn)
        try:
            _write(records, b"".join(payloads))
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(records, end)  # no row refers to it
            raise
        _write(index, rows.tobytes())

    def _open(self) -> tuple[int, int]:
        if self._handles is not None and self._process != os.getpid():  # forked
            self._release()
        if self._handles is None:
            self._process = os.getpid()
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | s.BINARY
            path = self._folder / s.new_name()
            opened: list[int] = []
            try:
                for suffix in (s.RECORDS, s.INDEX):
                    opened.append(os.open(f"{path}{suffix}", flags, 0o644))
                _write(opened[1], s.header())
            except BaseException:
                for handle, suffix in zip(opened, (s.RECORDS, s.INDEX), strict=False):
                    os.close(handle)
                    Path(f"{path}{suffix}").unlink(missing_ok=True)
                raise
            self._handles = opened[0], opened[1]
        return self._handles

    def close(self) -> None:
        """Bring the records onto the disk and close the shard.

        Raises:
            OSError: The disk reports that it could not store them.
        """
        try:
            if self._process == os.getpid():  # the shard of another process is not this one's
                for handle in self._handles or ():  # payloads before the rows that refer to them
                    os.fsync(handle)
        finally:
            self._release()

    def _release(self) -> None:
        for handle in self._handles or ():
            os.close(handle)
        self._handles = None


def _write(handle: int, data: bytes) -> None:
    """Write all of it: a disk that fills up takes a part first, then reports the error."""
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left) :]


def _read_at(handle: int, length: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(handle, length, offset)
    os.lseek(handle, offset, os.SEEK_SET)  # Windows
    return os.read(handle, length)
