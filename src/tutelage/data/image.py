"""Reads image files: only headers when a data set is opened, pixels later."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tutelage.data.bit_depth import DEEP_MODES, ImageRange, bits_per_value, to_8_bits
from tutelage.errors import DataError
from tutelage.sanitise import printable

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".mpo", ".png", ".tif", ".tiff", ".webp")
SMALLEST_SIDE = 10
MOST_PIXELS = 178_956_970
"""Twice Pillow's warning limit: half a GB of RGB pixels. Larger files are decompression bombs, or
need to be cut into tiles."""
PILLOW_FORMATS = ("BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Formats that are read, whatever the suffix; none that Pillow hands to other programs (EPS)."""

# Its lines of warning do not name the file; what it cannot read is reported by read_image.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

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


class Pixels(NamedTuple):
    """A decoded image, upright.

    Attributes:
        values: ``(h, w, 3)`` uint8 RGB; with more than 8 bits ``(h, w)`` or ``(h, w, 3)`` of any
            type.
        bits: Bits per value in the file.
    """

    values: NDArray[Any]
    bits: int


def read_image(
    path: Path,
    size_wh: tuple[int, int] | None = None,
    image_range: ImageRange | None = None,
) -> NDArray[np.uint8]:
    """Decode an image to ``(h, w, 3)`` uint8 RGB, upright as its EXIF orientation says.

    Args:
        path: The file.
        size_wh: The size it must have, when its boxes refer to that size.
        image_range: The values that are black and white in images of more than 8 bits; None: see
            :func:`~tutelage.data.bit_depth.black_and_white`.

    Raises:
        DataError: The file is missing, damaged or too large, or its size is not ``size_wh``.
    """
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=PILLOW_FORMATS) as opened:
            pixels = decode(content, opened)
        if image_range is not None and pixels.bits > 8 and pixels.values.dtype == np.uint8:
            raise ValueError("its colours of 16 bits are not read; save it as PNG")
    except Exception as error:  # see read_size
        raise DataError(f"{path} cannot be read: {_reason(error, path)}", code="D27") from error
    image = to_8_bits(*pixels, image_range)
    height, width = image.shape[:2]
    if size_wh is not None and (width, height) != size_wh:
        what = f"{path} is {width}x{height}, but was {size_wh[0]}x{size_wh[1]} when it was scanned"
        raise DataError(what, code="D27")
    return image


def decode(content: bytes, opened: Image.Image) -> Pixels:
    """Decode the content of a file that Pillow has opened.

    Raises:
        Exception: Pillow's readers raise almost anything on a damaged file.
    """
    _check_pixels(opened.size)  # OpenCV would unpack a thousand million
    bits = bits_per_value(opened)
    image = None
    if bits in (8, 16) or opened.mode not in DEEP_MODES:
        # Not COLOR_RGB | ANYDEPTH: OpenCV 5.0.0 mixes up the values of TIFFs in colour.
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH if bits == 16 else cv2.IMREAD_COLOR_RGB
        with contextlib.suppress(cv2.error):
            image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    if image is None:  # OpenCV gives up both on damaged files and on kinds it does not know
        upright = ImageOps.exif_transpose(opened)
        return Pixels(np.asarray(upright if _is_deep(upright) else upright.convert("RGB")), bits)
    if bits == 16:
        return Pixels(image[..., 0] if _is_deep(opened) else image[..., ::-1], bits)
    return Pixels(np.asarray(image, np.uint8), bits)


def _is_deep(image: Image.Image) -> bool:
    return image.mode in DEEP_MODES


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
    tags = getattr(image, "tag_v2", None)
    if tags is not None:  # a TIFF's own tags
        return int(tags.get(_ORIENTATION, 1))
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
