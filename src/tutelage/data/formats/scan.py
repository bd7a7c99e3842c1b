"""The scan of a split: image headers and label files read in parallel, remembered in a cache."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutelage.data import array_cache
from tutelage.data.formats.yolo_labels import BadLabelLine, LabelBox, LabelFault, parse_labels
from tutelage.data.image import read_size
from tutelage.data.image_cache import START_METHOD
from tutelage.errors import DataError

FORMAT_VERSION = "tutelage-labels-2"
_THREADS = min(8, 2 * (os.cpu_count() or 1))
_CHUNK = 64
_MANY = 4000  # images from which processes are worth their start: parsing holds Python's lock
_EVERY = 3.0  # seconds between two words on how far the reading is

_log = logging.getLogger(__name__)

Objects = tuple[list[LabelBox], list[BadLabelLine]]
Reader = Callable[[str, str, tuple[int, int]], Objects | None]
"""From image, label file and size of the image to its objects; None: there is no label file."""


class Scan(NamedTuple):
    """What the files of ``n`` images say, in flat arrays.

    Attributes:
        sizes: ``(n, 2)`` int32 width and height; 0 for an image that cannot be used.
        file_sizes: ``(n,)`` int64 bytes of the image files; -1 for one that does not exist.
        reasons: ``(n,)`` str, why an image cannot be used; empty for the others.
        labelled: ``(n,)`` bool, whether there is a label file.
        counts: ``(n,)`` int64 boxes per image.
        boxes: ``(m, 4)`` float32 corners in pixels.
        labels: ``(m,)`` int64 class; where the format has names, a position in ``words``.
        words: ``(w,)`` str, the class names that occur, sorted; empty where classes are numbers.
        lines: ``(m,)`` int32 line of each box in its label file.
        bad_image: ``(k,)`` int64, the image of each unusable line.
        bad_line: ``(k,)`` int32, its line number.
        bad_fault: ``(k,)`` uint8, its :class:`~tutelage.data.formats.yolo_labels.LabelFault`.
        bad_text: ``(k,)`` str, its text.
    """

    sizes: NDArray[np.int32]
    file_sizes: NDArray[np.int64]
    reasons: NDArray[np.str_]
    labelled: NDArray[np.bool_]
    counts: NDArray[np.int64]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    words: NDArray[np.str_]
    lines: NDArray[np.int32]
    bad_image: NDArray[np.int64]
    bad_line: NDArray[np.int32]
    bad_fault: NDArray[np.uint8]
    bad_text: NDArray[np.str_]


class _ImageScan(NamedTuple):
    size: tuple[int, int]
    file_size: int
    reason: str
    labelled: bool
    rows: list[LabelBox]
    bad: list[BadLabelLine]


def label_path(image: str) -> str:
    """Return the label file of an image: last ``/images/`` becomes ``/labels/``, suffix ``.txt``.

    Without a folder ``images`` in its path the label file lies beside the image.
    """
    head, folder, tail = image.rpartition(".")[0].rpartition(f"{os.sep}images{os.sep}")
    return f"{head}{os.sep}labels{os.sep}{tail}.txt" if folder else f"{tail}.txt"


def read_yolo(_: str, label_file: str, _size_wh: tuple[int, int]) -> Objects | None:
    """Read one YOLO label file; see :data:`Reader`."""
    content = read_labels(label_file)
    return None if content is None else parse_labels(content.decode("utf-8-sig", "replace"))


def read_labels(label_file: str) -> bytes | None:
    """Return the content of a label file, or None if there is none.

    Raises:
        DataError: It is there but cannot be read.
    """
    try:
        return Path(label_file).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:  # a NUL in its name
        return None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}") from error


def scan(
    images: Sequence[str],
    sources: Sequence[Path],
    label_files: Sequence[str] | None = None,
    read: Reader = read_yolo,
) -> Scan:
    """Read the headers and labels of ``images``, or take them from the cache if nothing changed.

    The cache lies in the user's folder for derived data, never in the data set: what is written to
    this machine, and where, is not for a data set's lists to decide. Its key are the paths, sizes
    and modification times of all images and label files.

    Args:
        images: At least one image file; files may be missing.
        sources: The folders or lists that the images come from; they name the cache, with what
            reads the labels and the first label folder.
        label_files: One per image; none: where YOLO's labels are.
        read: How a label file is read.
    """
    if label_files is None:
        label_files = [label_path(image) for image in images]
    key = _key(images, label_files)
    named = (read.__name__, os.path.dirname(label_files[0]), *sources)  # noqa: PTH120
    name = hashlib.sha256(b"\0".join(map(os.fsencode, named))).hexdigest()[:16]
    store = array_cache.cache_root() / "labels" / f"{name}.npz"
    stored = array_cache.load_arrays(store, key)
    if stored is not None and set(stored) == set(Scan._fields):
        return Scan(**stored)
    found = _scan(images, label_files, read)
    array_cache.save_arrays(store, key, found._asdict())
    return found


def _key(images: Iterable[str], label_files: Iterable[str]) -> str:
    digest = hashlib.sha256(FORMAT_VERSION.encode())
    for path in (*images, *label_files):
        state = _stat(path)
        digest.update(f"{path}\0{state}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _stat(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 (each opening does this for every file)
    except (OSError, ValueError):  # a NUL in its name
        return -1, -1
    return found.st_size, found.st_mtime_ns


def _scan(images: Sequence[str], label_files: Sequence[str], read: Reader) -> Scan:
    pairs = list(zip(images, label_files, strict=True))
    chunks = [pairs[start : start + _CHUNK] for start in range(0, len(pairs), _CHUNK)]
    many = len(pairs) >= _MANY and START_METHOD == "fork"
    found: list[_ImageScan] = []
    told = time.monotonic()
    with _processes(read) if many else ThreadPoolExecutor(_THREADS) as pool:
        work = _read_chunk if many else partial(_read_all, read=read)
        for part in pool.map(work, chunks):
            found += part
            if time.monotonic() - told > _EVERY:
                told = time.monotonic()
                _log.info("%s of %s images read", f"{len(found):,}", f"{len(pairs):,}")
    return _columns(found)


def _processes(read: Reader) -> ProcessPoolExecutor:
    """Return one process per core; forked ones have ``read`` without its being sent."""
    return ProcessPoolExecutor(
        os.cpu_count(), get_context(START_METHOD), initializer=_forked.update, initargs=({0: read},)
    )


_forked: dict[int, Reader] = {}  # of a process that reads; empty everywhere else


def _read_chunk(chunk: Sequence[tuple[str, str]]) -> list[_ImageScan]:
    return _read_all(chunk, read=_forked[0])


def _read_all(chunk: Sequence[tuple[str, str]], *, read: Reader) -> list[_ImageScan]:
    return [_read(*pair, read=read) for pair in chunk]


def _read(image: str, label_file: str, *, read: Reader) -> _ImageScan:
    file_size = _stat(image)[0]
    try:
        size = read_size(Path(image))
    except DataError as error:
        reason = error.what.removeprefix(f"{image} ")
        return _ImageScan((0, 0), file_size, reason, _stat(label_file)[0] >= 0, [], [])
    try:
        objects = read(image, label_file, size)
    except DataError as error:
        objects = [], [BadLabelLine(1, LabelFault.SHAPE, error.what[-80:])]
    return _ImageScan(size, file_size, "", objects is not None, *(objects or ([], [])))


def _columns(found: Sequence[_ImageScan]) -> Scan:
    rows = [row for one in found for row in one.rows]
    bad = [(image, line) for image, one in enumerate(found) for line in one.bad]
    sizes = np.array([one.size for one in found], np.int32).reshape(-1, 2)
    counts = np.array([len(one.rows) for one in found], np.int64)
    corners = np.array([row.xyxy for row in rows], np.float64).reshape(-1, 4)
    scale = np.tile(np.repeat(sizes, counts, axis=0), 2)
    words = sorted({row.label for row in rows if isinstance(row.label, str)})
    number: dict[int | str, int] = {word: i for i, word in enumerate(words)}
    return Scan(
        sizes=sizes,
        file_sizes=np.array([one.file_size for one in found], np.int64),
        reasons=_strings(one.reason for one in found),
        labelled=np.array([one.labelled for one in found], np.bool_),
        counts=counts,
        boxes=(corners * scale).astype(np.float32),
        labels=np.array([number.get(row.label, row.label) for row in rows], np.int64),
        words=_strings(words),
        lines=np.array([row.line for row in rows], np.int32),
        bad_image=np.array([image for image, _ in bad], np.int64),
        bad_line=np.array([line.line for _, line in bad], np.int32),
        bad_fault=np.array([line.fault for _, line in bad], np.uint8),
        bad_text=_strings(line.text for _, line in bad),
    )


def _strings(values: Iterable[str]) -> NDArray[np.str_]:
    return np.array([value[:200] for value in values], np.str_)
