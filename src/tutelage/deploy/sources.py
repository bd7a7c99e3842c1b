"""Sources of pictures: images, folders, patterns, videos, streams; read one frame at a time."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tutelage.data import read_image
from tutelage.data.bit_depth import ImageRange
from tutelage.data.formats.coco_json import read_coco
from tutelage.data.image import SUFFIXES, is_image
from tutelage.deploy.streams import (
    Stream,
    as_stream,
    captured_frames,
    frame_rate,
    is_live,
    newest_frames,
    open_capture,
    why_closed,
)
from tutelage.errors import DataError, nearest

_log = logging.getLogger(__name__)

COMPLETE = 0.9  # share of frames; the counts of containers are approximate
VIDEO_SUFFIXES = (".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")

_Item = str | Path | int | NDArray[np.uint8]
PictureSource = _Item | Sequence[_Item]


class SourceFile(NamedTuple):
    """An image or video file, and its path relative to the source."""

    path: Path
    name: Path


class Frame(NamedTuple):
    """One picture.

    Attributes:
        path: Its file; None for an array, a camera or a stream.
        name: Its file relative to the source; ``image-<number>.png`` for an array.
        number: Which frame of a video or stream, from 0; None for a picture.
        image: ``(h, w, 3)`` uint8 RGB, upright; ``(0, 0, 3)`` if it cannot be read.
        rate: Frames per second of a video or stream, else 0.
        error: Why it cannot be read, else None.
        stream: The camera or stream that it is from, as it is shown; else empty.
        live: Whether that has no end; its frames are the newest ones.
    """

    path: Path | None
    name: Path
    number: int | None
    image: NDArray[np.uint8]
    rate: float = 0.0
    error: str | None = None
    stream: str = ""
    live: bool = False

    @property
    def title(self) -> str:
        """Its file or stream as text."""
        return self.stream or str(self.path or self.name)


def read_frames(source: PictureSource, *, image_range: ImageRange | None = None) -> Iterator[Frame]:
    """Yield the pictures of a source, one at a time.

    A file that cannot be read is logged, and one frame with its error is yielded for it.

    Args:
        source: An image, a video, a folder (searched recursively), a glob pattern, a COCO json,
            an RGB array ``(h, w, 3)`` uint8, or several of these; or one camera (its number) or
            stream (its address).
        image_range: The values that are black and white in images of more than 8 bits.

    Raises:
        DataError: There is no picture, or none can be read.
    """
    sources = [source] if isinstance(source, str | Path | int | np.ndarray) else source
    items: list[SourceFile | Frame | Stream] = []
    for number, each in enumerate(sources):
        items += _items(each, number)
    streams = [item.title for item in items if isinstance(item, Stream)]
    if streams and len(items) > 1:
        raise DataError(
            f"{streams[0]} has no end: what comes after it would never be reached.",
            fix="Start a command for each stream, and one for files.",
            code="D28",
        )
    count, reason = 0, "the source is empty"
    for item in _unique_names(items):
        for frame in _frames(item, image_range):
            if frame.error is None:
                count += 1
            else:
                reason = frame.error
                _log.warning("%s. Skipped.", reason.rstrip("."))
            yield frame
    if not count:
        raise DataError(f"Nothing could be read: {reason.rstrip('.')}.", code="D28")


def read_frame(path: Path, number: int | None = None) -> NDArray[np.uint8]:
    """Return a picture, or frame ``number`` of a video; ``(h, w, 3)`` uint8 RGB.

    Raises:
        DataError: It cannot be read.
    """
    frames = _frames(SourceFile(path, Path(path.name)))
    frame = next(islice(frames, number or 0, None), None)
    if frame is None or frame.error is not None:
        what = f"{path} has no frame {number}." if frame is None else str(frame.error)
        raise DataError(what, code="D28")
    return frame.image


def _items(source: _Item, number: int) -> Sequence[SourceFile | Frame | Stream]:
    if isinstance(source, np.ndarray):
        return [_array(source, number)]
    stream = as_stream(source)
    return list_files(str(source)) if stream is None else [stream]


def _unique_names(
    items: list[SourceFile | Frame | Stream],
) -> list[SourceFile | Frame | Stream]:
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
    """Return the images and videos of a source, sorted; those of a COCO json in its order.

    Raises:
        DataError: It does not exist, or has no image or video.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        names = sorted(_below(path))
        if not names:
            raise DataError(f"{source} contains no image or video.", fix=_known(), code="D28")
        return [SourceFile(path / name, name) for name in names]
    if path.is_file() and path.suffix.lower() == ".json":
        files = [Path(file) for file in read_coco(path).images]
        return [SourceFile(file, Path(os.path.relpath(file, path.parent))) for file in files]
    if path.exists():
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
    return Frame(None, Path(f"image-{number}.png"), None, image)


def _frames(
    item: SourceFile | Frame | Stream, image_range: ImageRange | None = None
) -> Iterator[Frame]:
    if isinstance(item, Frame):
        yield item
    elif isinstance(item, Stream):
        yield from _stream(item)
    elif is_video(item.name.name):
        yield from _video(item)
    else:
        try:
            yield Frame(item.path, item.name, None, read_image(item.path, None, image_range))
        except DataError as error:
            yield _unreadable(item, str(error))


def _video(file: SourceFile) -> Iterator[Frame]:
    capture, count = open_capture(str(file.path)), 0
    rate, expected = frame_rate(capture), capture.get(cv2.CAP_PROP_FRAME_COUNT)
    for number, image in captured_frames(capture):
        yield Frame(file.path, file.name, number, _rgb(image), rate)
        count += 1
    if 0 < count < COMPLETE * expected:
        _log.warning("%s: only %d of %d frames can be decoded.", file.path, count, expected)
    if not count:
        reason = f"{file.path} cannot be read: it has no frame that can be decoded"
        yield _unreadable(file, reason)


def _stream(stream: Stream) -> Iterator[Frame]:
    """Yield the frames of a stream: all of a video, the newest of a live one.

    Raises:
        DataError: It cannot be opened, or sends nothing.
    """
    _log.info("Opening %s.", stream.title)
    capture, number = open_capture(stream.target), -1
    if not capture.isOpened():
        reason, fix = why_closed(stream)
        raise DataError(f"{stream.title} cannot be opened: {reason}.", fix=fix, code="D28")
    rate, live = frame_rate(capture), is_live(capture)
    for number, image in newest_frames(capture) if live else captured_frames(capture):
        yield Frame(None, stream.name, number, _rgb(image), rate, stream=stream.title, live=live)
    if number < 0:
        raise DataError(f"{stream.title} was opened, but sends no picture.", code="D28")
    if live:
        _log.warning("%s has ended after frame %d.", stream.title, number)


def _unreadable(file: SourceFile, reason: str) -> Frame:
    return Frame(file.path, file.name, None, np.zeros((0, 0, 3), np.uint8), error=reason)


def _rgb(image: Any) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
