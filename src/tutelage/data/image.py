"""Reads image files: only headers when a data set is opened, pixels later."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tutelage.errors import DataError
from tutelage.sanitise import printable

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".mpo", ".png", ".tif", ".tiff", ".webp")
SMALLEST_SIDE = 10
MOST_PIXELS = 178_956_970
"""Twice Pillow's warning limit: half a GB of RGB pixels. Larger files are decompression bombs, or
need to be cut into tiles."""
PILLOW_FORMATS = ("BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Formats that are read, whatever the suffix; none that Pillow hands to other programs (EPS)."""

_ORIENTATION = 0x0112
_TURNED_BY_90 = (5, 6, 7, 8)
_JPEG_END = b"\xff\xd9"


def is_image(name: str) -> bool:
    """Return whether a file is an image, judging by its suffix."""
    return name.lower().endswith(SUFFIXES)


def read_size(path: Path) -> tuple[int, int]:
    """Verify an image file without decoding it and return its width and height as displayed.

    A JPEG without a proper end is decoded after all; the checksums of a PNG are verified.

    Raises:
        DataError: The file is no image, is damaged, is smaller than 10 pixels or larger than
            MOST_PIXELS.
    """
    try:
        with Image.open(path, formats=PILLOW_FORMATS) as image:
            _check_pixels(image.size)
            if _must_be_decoded(image, path):
                image.load()
            elif image.format == "PNG":
                image.verify()
            width, height = image.size
            # Pillow reports the size of a TIFF with its orientation already applied.
            if image.format != "TIFF" and orientation(image) in _TURNED_BY_90:
                width, height = height, width
    except Exception as error:  # Pillow's readers raise almost anything on a damaged file
        raise DataError(f"{path} cannot be read: {_reason(error, path)}", code="D27") from error
    if min(width, height) < SMALLEST_SIDE:
        raise DataError(f"{path} cannot be used: {width}x{height} is under 10 pixels", code="D27")
    return width, height


def read_image(path: Path, size_wh: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Decode an image to ``(h, w, 3)`` uint8 RGB, upright as its EXIF orientation says.

    Args:
        path: The file.
        size_wh: The size it must have, when its boxes refer to that size.

    Raises:
        DataError: The file is missing, damaged or too large, or its size is not ``size_wh``.
    """
    try:
        image = _decode(path)
    except Exception as error:  # see read_size
        raise DataError(f"{path} cannot be read: {_reason(error, path)}", code="D27") from error
    height, width = image.shape[:2]
    if size_wh is not None and (width, height) != size_wh:
        what = f"{path} is {width}x{height}, but was {size_wh[0]}x{size_wh[1]} when it was scanned"
        raise DataError(what, code="D27")
    return image


def _decode(path: Path) -> NDArray[np.uint8]:
    content = path.read_bytes()
    with Image.open(io.BytesIO(content), formats=PILLOW_FORMATS) as opened:
        _check_pixels(opened.size)  # OpenCV would unpack a thousand million
        image = None
        with contextlib.suppress(cv2.error):
            image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
        if image is None:  # OpenCV gives up both on damaged files and on kinds it does not know
            image = ImageOps.exif_transpose(opened).convert("RGB")
    return np.asarray(image, dtype=np.uint8)


def _check_pixels(size: tuple[int, int]) -> None:
    if size[0] * size[1] > MOST_PIXELS:
        raise ValueError(f"{size[0]}x{size[1]} are more than {MOST_PIXELS:,} pixels")


def _must_be_decoded(image: Image.Image, path: Path) -> bool:
    if image.format in ("JPEG", "MPO"):
        return not _ends_like_jpeg(path)
    # Metadata may stand behind a PNG's pixels, where Pillow finds it only after decoding them.
    return image.format == "PNG" and "exif" not in image.info and b"eXIf" in path.read_bytes()


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an opened image, 1 (upright) … 8."""
    # Not getexif(): that decodes every PNG, and believes XMP data, which OpenCV does not.
    exif = Image.Exif()
    exif.load(image.info.get("exif", b""))
    return int(exif.get(_ORIENTATION, 1))


def stored_orientation(path: Path) -> int:
    """Return the EXIF orientation of an image file; 1 (upright) if it cannot be read."""
    try:
        with Image.open(path, formats=PILLOW_FORMATS) as image:
            return orientation(image)
    except Exception:  # see read_size
        return 1


def _ends_like_jpeg(path: Path) -> bool:
    with path.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(max(end - 32, 0))
        return file.read().rstrip(b"\0\r\n").endswith(_JPEG_END)


def _reason(error: Exception, path: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        if os.stat(path).st_size == 0:  # noqa: PTH116  (a name may be too long for a file)
            return "the file is empty"
    if isinstance(error, FileNotFoundError):
        return "the file does not exist"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {MOST_PIXELS:,} pixels"
    text = str(error).split("<_io.")[0].split(str(path))[0].rstrip(" '\"") or type(error).__name__
    return printable(text.splitlines()[0][:200])
