"""The scan of a split: reads image headers and label files in parallel and caches the result."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutelage.data import array_cache
from tutelage.data.formats.yolo_labels import BadLabelLine, LabelBox, LabelFault, parse_labels
from tutelage.data.image import read_size
from tutelage.data.image_cache import START_METHOD
from tutelage.errors import DataError

FORMAT_VERSION = "tutelage-labels-3"
_THREADS = min(8, 2 * (os.cpu_count() or 1))
_CHUNK = 64
_PROCESS_THRESHOLD = 4000  # images from which processes pay off: parsing holds the GIL
_PROGRESS_SECONDS = 3.0  # between two progress messages

_log = logging.getLogger(__name__)

LabelFormat = Literal["YOLO", "Pascal VOC", "COCO"]
BoxFrame = Literal["", "shown", "stated"]
Objects = tuple[list[LabelBox], list[BadLabelLine]]
Reader = Callable[[str, str, tuple[int, int]], Objects | None]
"""Reads the objects of an image from (image, label file, image size); None: no label file."""


class Scan(NamedTuple):
    """Sizes and labels of ``n`` images in flat arrays.

    Attributes:
        sizes: ``(n, 2)`` int32 width and height; 0 for an image that cannot be used.
        file_sizes: ``(n,)`` int64 bytes of the image files; -1 for one that does not exist.
        reasons: ``(n,)`` str, why an image cannot be used; empty for usable ones.
        labelled: ``(n,)`` bool, whether there is a label file.
        counts: ``(n,)`` int64 boxes per image.
        boxes: ``(m, 4)`` float32 corners in pixels.
        labels: ``(m,)`` int64 class; where the labels name classes, a position in ``words``.
        words: ``(w,)`` str, the class names that occur, sorted; empty where labels number classes.
        lines: ``(m,)`` int32 line of each box in its label file.
        areas: ``(m,)`` float32 area of each object as given; NaN: not given.
        ignored: ``(m,)`` uint8 :class:`~tutelage.data.index.Ignored`.
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
    areas: NDArray[np.float32]
    ignored: NDArray[np.uint8]
    bad_image: NDArray[np.int64]
    bad_line: NDArray[np.int32]
    bad_fault: NDArray[np.uint8]
    bad_text: NDArray[np.str_]

    @property
    def usable(self) -> NDArray[np.bool_]:
        """``(n,)`` bool, which images can be used."""
        return self.reasons == ""

    @property
    def image_of_box(self) -> NDArray[np.int64]:
        """``(m,)`` int64, the image of each box."""
        return np.repeat(np.arange(len(self.counts)), self.counts)


@dataclass(frozen=True)
class SplitRequest:
    """The split to open.

    Attributes:
        source: The data set as the user gave it.
        split: ``train``, ``val`` or ``test``.
        root: Folder of the data set; paths in messages are relative to it.
        single_class: Treat all classes as one.
        names: Class names in their order; empty if the labels name the classes.
        box_frame: What boxes in pixels refer to; see
            :class:`~tutelage.data.formats.stated_frame.StatedFrame`.
        keypoints: ``kpt_shape`` of the data yaml, for YOLO labels.
        voc_origin: The number of the first pixel in VOC files; None: 1, unless one of them has a 0.
    """

    source: str
    split: str
    root: Path
    single_class: bool
    names: tuple[str, ...] = ()
    box_frame: BoxFrame = ""
    keypoints: tuple[int, int] | None = None
    voc_origin: int | None = None


@dataclass(frozen=True, kw_only=True)
class SplitImages(SplitRequest):
    """The files of one split.

    Attributes:
        format: The format of the labels.
        images: The image files, sorted, without duplicates.
        sources: The folders, lists or jsons of the split.
        label_files: One per image.
    """

    format: LabelFormat
    images: Sequence[str]
    sources: tuple[Path, ...]
    label_files: Sequence[str]

    def short(self, path: str) -> str:
        """Return a path for messages: relative to the root if it lies below it."""
        return path.removeprefix(f"{self.root}{os.sep}")

    def locate(self, image: int, line: int) -> str:
        """Return the place of an object: file and line, or its number in a COCO json."""
        file = self.short(self.label_files[image])
        return f"{file} annotations[{line}]" if self.format == "COCO" else f"{file}:{line}"


class _ImageScan(NamedTuple):
    size: tuple[int, int]
    file_size: int
    reason: str
    labelled: bool
    rows: list[LabelBox]
    bad: list[BadLabelLine]


def class_numbers(names: Sequence[str], scan: Scan) -> NDArray[np.int64]:
    """Return ``(m,)`` the class of each box; -1 for a class name that is not among ``names``."""
    if not len(scan.words):
        return scan.labels
    number = {name: position for position, name in enumerate(names)}
    return np.array([number.get(str(word), -1) for word in scan.words], np.int64)[scan.labels]


def label_path(image: str) -> str:
    """Return the YOLO label file: last ``/images/`` becomes ``/labels/``, suffix ``.txt``.

    Without a folder ``images`` in its path the label file lies beside the image.
    """
    head, folder, tail = image.rpartition(".")[0].rpartition(f"{os.sep}images{os.sep}")
    return f"{head}{os.sep}labels{os.sep}{tail}.txt" if folder else f"{tail}.txt"


def read_yolo(
    _: str, label_file: str, size_wh: tuple[int, int], keypoints: tuple[int, int] | None = None
) -> Objects | None:
    """Read one YOLO label file; see :data:`Reader`."""
    content = read_labels(label_file)
    if content is None:
        return None
    return parse_labels(content.decode("utf-8-sig", "replace"), size_wh, keypoints)


def read_labels(label_file: str) -> bytes | None:
    """Return the content of a label file, or None if there is none.

    Raises:
        DataError: It exists but cannot be read.
    """
    try:
        return Path(label_file).read_bytes()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in its name
        return None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}") from error


def scan_images(
    images: Sequence[str],
    sources: Sequence[Path],
    label_files: Sequence[str] | None = None,
    read: Reader = read_yolo,
    form: str = "",
) -> Scan:
    """Read the headers and labels of ``images``, or load them from the cache if nothing changed.

    The cache lies in the user's cache folder, never in the data set, whose lists must not decide
    what is written where. Its key is a hash of the paths, sizes and modification times of all
    images and label files.

    Args:
        images: At least one image file; files may be missing.
        sources: The folders or lists of the images; with ``read`` and the first label folder they
            name the cache file.
        label_files: One per image; None: YOLO label files.
        read: Reads a label file.
        form: What else decides how ``read`` reads; a part of the cache's name.
    """
    if label_files is None:
        label_files = [label_path(image) for image in images]
    key = _key(images, label_files)
    name_parts = (read.__name__, form, os.path.dirname(label_files[0]), *sources)  # noqa: PTH120
    name = hashlib.sha256(b"\0".join(map(os.fsencode, name_parts))).hexdigest()[:16]
    store = array_cache.cache_root() / "labels" / f"{name}.npz"
    stored = array_cache.load_arrays(store, key)
    if stored is not None and set(stored) == set(Scan._fields):
        return Scan(**stored)
    scan = _scan(images, label_files, read)
    array_cache.save_arrays(store, key, scan._asdict())
    return scan


def _key(images: Iterable[str], label_files: Iterable[str]) -> str:
    digest = hashlib.sha256(FORMAT_VERSION.encode())
    for path in (*images, *label_files):
        digest.update(f"{path}\0{_stat(path)}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _stat(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116 (each opening does this for every file)
    except (OSError, ValueError):  # a NUL in its name
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _scan(images: Sequence[str], label_files: Sequence[str], read: Reader) -> Scan:
    pairs = list(zip(images, label_files, strict=True))
    chunks = [pairs[start : start + _CHUNK] for start in range(0, len(pairs), _CHUNK)]
    forks = len(pairs) >= _PROCESS_THRESHOLD and START_METHOD == "fork"
    images_read: list[_ImageScan] = []
    last_message = time.monotonic()
    with _process_pool(read) if forks else ThreadPoolExecutor(_THREADS) as pool:
        read_chunk = _read_chunk_in_process if forks else partial(_read_chunk, read=read)
        for chunk in pool.map(read_chunk, chunks):
            images_read += chunk
            if time.monotonic() - last_message > _PROGRESS_SECONDS:
                last_message = time.monotonic()
                _log.info("%s of %s images read", f"{len(images_read):,}", f"{len(pairs):,}")
    return _to_arrays(images_read)


def _process_pool(read: Reader) -> ProcessPoolExecutor:
    """Return one process per core; forked processes inherit ``read``, which need not pickle."""
    return ProcessPoolExecutor(
        os.cpu_count(), get_context(START_METHOD), initializer=_reader.update, initargs=({0: read},)
    )


_reader: dict[int, Reader] = {}  # set in the processes of a pool only


def _read_chunk_in_process(chunk: Sequence[tuple[str, str]]) -> list[_ImageScan]:
    return _read_chunk(chunk, read=_reader[0])


def _read_chunk(chunk: Sequence[tuple[str, str]], *, read: Reader) -> list[_ImageScan]:
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


def _to_arrays(images: Sequence[_ImageScan]) -> Scan:
    rows = [row for image in images for row in image.rows]
    bad = [(number, line) for number, image in enumerate(images) for line in image.bad]
    sizes = np.array([image.size for image in images], np.int32).reshape(-1, 2)
    counts = np.array([len(image.rows) for image in images], np.int64)
    corners = np.array([row.xyxy for row in rows], np.float64).reshape(-1, 4)
    scale = np.tile(np.repeat(sizes, counts, axis=0), 2)
    words = sorted({row.label for row in rows if isinstance(row.label, str)})
    number: dict[int | str, int] = {word: i for i, word in enumerate(words)}
    return Scan(
        sizes=sizes,
        file_sizes=np.array([image.file_size for image in images], np.int64),
        reasons=_strings(image.reason for image in images),
        labelled=np.array([image.labelled for image in images], np.bool_),
        counts=counts,
        boxes=(corners * scale).astype(np.float32),
        labels=np.array([number.get(row.label, row.label) for row in rows], np.int64),
        words=_strings(words),
        lines=np.array([row.line for row in rows], np.int32),
        areas=np.array([row.area for row in rows], np.float32),
        ignored=np.array([row.ignored for row in rows], np.uint8),
        bad_image=np.array([number for number, _ in bad], np.int64),
        bad_line=np.array([line.line for _, line in bad], np.int32),
        bad_fault=np.array([line.fault for _, line in bad], np.uint8),
        bad_text=_strings(line.text for _, line in bad),
    )


def _strings(values: Iterable[str]) -> NDArray[np.str_]:
    return np.array([value[:200] for value in values], np.str_)
