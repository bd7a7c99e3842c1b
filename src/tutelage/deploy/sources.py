"""Sources of pictures: images, folders, glob patterns, videos; read one frame at a time."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tutelage.data import read_image
from tutelage.data.bit_depth import ImageRange
from tutelage.data.image import SUFFIXES, is_image
from tutelage.errors import DataError, nearest

_log = logging.getLogger(__name__)

COMPLETE = 0.9  # share of frames; the counts of containers are approximate
VIDEO_SUFFIXES = (".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")

_Item = str | Path | NDArray[np.uint8]
PictureSource = _Item | Sequence[_Item]


class SourceFile(NamedTuple):
    """An image or video file, and its path relative to the source."""

    path: Path
    name: Path


class Frame(NamedTuple):
    """One picture.

    Attributes:
        path: Its file; a picture given as an array has the name ``image-<number>``.
        name: Its file relative to the source.
        number: Which frame of a video, from 0; None for a picture.
        image: ``(h, w, 3)`` uint8 RGB, upright.
        rate: Frames per second of a video, else 0.
    """

    path: Path
    name: Path
    number: int | None
    image: NDArray[np.uint8]
    rate: float = 0.0


def read_frames(source: PictureSource, *, image_range: ImageRange | None = None) -> Iterator[Frame]:
    """Yield the pictures of a source, one at a time; unreadable files are logged and skipped.

    Args:
        source: An image, a video, a folder (searched recursively), a glob pattern, an RGB
            array ``(h, w, 3)`` uint8, or several of these.
        image_range: The values that are black and white in images of more than 8 bits.

    Raises:
        DataError: There is no picture, or none can be read.
    """
    sources = [source] if isinstance(source, str | Path | np.ndarray) else source
    items: list[SourceFile | Frame] = []
    for number, each in enumerate(sources):
        items += [_array(each, number)] if isinstance(each, np.ndarray) else list_files(each)
    count, reason = 0, "the source is empty"
    for item in _unique_names(items):
        for frame in [item] if isinstance(item, Frame) else _frames(item, image_range):
            if isinstance(frame, DataError):
                reason = str(frame)
                _log.warning("%s. Skipped.", reason.rstrip("."))
            else:
                count += 1
                yield frame
    if not count:
        raise DataError(f"Nothing could be read: {reason.rstrip('.')}.", code="D28")


def _unique_names(items: list[SourceFile | Frame]) -> list[SourceFile | Frame]:
    """If two files have one name, name all relative to their common parent."""
    names = {item.path.absolute(): item.name for item in items if isinstance(item, SourceFile)}
    if len(set(names.values())) == len(names):
        return items
    root = Path(os.path.commonpath([path.parent for path in names]))
    return [
        item._replace(name=item.path.absolute().relative_to(root))
        if isinstance(item, SourceFile)
        else item
        for item in items
    ]


def list_files(source: str | Path) -> list[SourceFile]:
    """Return the images and videos of a source, sorted.

    Raises:
        DataError: It does not exist, or has no image or video.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        names = sorted(_below(path))
        if not names:
            raise DataError(f"{source} contains no image or video.", fix=_known(), code="D28")
        return [SourceFile(path / name, name) for name in names]
    if path.is_file():
        if not _is_known(path.name):
            raise DataError(f"{source} is neither an image nor a video.", fix=_known(), code="D28")
        return [SourceFile(path, Path(path.name))]
    if glob.has_magic(str(path)):
        matches = sorted(Path(each) for each in glob.iglob(str(path), recursive=True))  # noqa: PTH207  (absolute, too)
        files = [each for each in matches if each.is_file() and _is_known(each.name)]
        if not files:
            raise DataError(
                f"No image or video matches the pattern {source}.", fix=_known(), code="D28"
            )
        root = os.path.commonpath([each.parent for each in files])
        return [SourceFile(each, each.relative_to(root)) for each in files]
    if "://" in str(source):
        raise DataError(f"{source} is a URL.", fix="Download it first.", code="D28")
    folder = path.parent
    siblings = [each.name for each in folder.iterdir()] if folder.is_dir() else []
    raise DataError(f"{source} does not exist.", fix=nearest(path.name, siblings), code="D28")


def is_video(name: str) -> bool:
    """Whether a file is a video, by its suffix."""
    return name.lower().endswith(VIDEO_SUFFIXES)


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = [each for each in folders if not each.startswith(".")]
        for name in files:
            if not name.startswith(".") and _is_known(name):
                yield (Path(place) / name).relative_to(folder)


def _is_known(name: str) -> bool:
    return is_image(name) or is_video(name)


def _known() -> str:
    return f"Known suffixes: {' '.join((*SUFFIXES, *VIDEO_SUFFIXES))}."


def _array(image: NDArray[np.uint8], number: int) -> Frame:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise DataError(
            f"Expected an RGB array (h, w, 3) of uint8, but got {image.shape} {image.dtype}."
        )
    name = Path(f"image-{number}.png")
    return Frame(name, name, None, image)


def _frames(file: SourceFile, image_range: ImageRange | None) -> Iterator[Frame | DataError]:
    if is_video(file.name.name):
        yield from _video(file)
        return
    try:
        yield Frame(file.path, file.name, None, read_image(file.path, None, image_range))
    except DataError as error:
        yield error


def _video(file: SourceFile) -> Iterator[Frame | DataError]:
    capture, expected = cv2.VideoCapture(str(file.path)), 0.0
    try:
        rate, number = capture.get(cv2.CAP_PROP_FPS) or 25.0, 0
        while (read := capture.read())[0]:
            image = cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)
            yield Frame(file.path, file.name, number, np.asarray(image, np.uint8), rate)
            number += 1
        expected = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    finally:
        capture.release()
    if 0 < number < COMPLETE * expected:
        _log.warning("%s: only %d of %d frames can be decoded.", file.path, number, expected)
    if not number:
        yield DataError(
            f"{file.path} cannot be read: it has no frame that can be decoded", code="D28"
        )
