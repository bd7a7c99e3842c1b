"""Images that look black, white or of one colour because of how their values are read."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from PIL import Image

from tutelage.data.bit_depth import ImageRange, bits_per_value, black_and_white, to_8_bits
from tutelage.data.findings import Finding, summarise
from tutelage.data.image import PILLOW_FORMATS, Pixels, decode
from tutelage.data.index import DatasetIndex

FAINT = 17
"""Levels of grey that an image must use: 12 bits stored in 16 use 16."""

_CUT_OFF = 0.1  # share of the values
_FEW = 0.001  # of the values, at both ends: dead pixels, letters in a corner
_SAMPLED, _VALUES = 64, 100_000


class FaintImage(NamedTuple):
    """What is known of such an image: bits per value, and what values it has."""

    bits: int
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.bits} bits, values {self.low:g} to {self.high:g}"


def faint(pixels: Pixels, image_range: ImageRange | None = None) -> FaintImage | None:
    """Return the values of an image that uses few of the 256 levels or loses values, else None.

    Args:
        pixels: The decoded image; some of its values are looked at.
        image_range: The values that are black and white, as in training.
    """
    values = pixels.values.reshape(-1)
    values = values[:: max(len(values) // _VALUES, 1)]
    values = values[np.isfinite(values)]
    if not len(values):
        return FaintImage(pixels.bits, math.nan, math.nan)
    low, high = np.quantile(values, [_FEW, 1 - _FEW], method="nearest").tolist()
    levels = to_8_bits(np.array([[low, high]], values.dtype), pixels.bits, image_range)
    black, white = black_and_white(pixels.bits)
    cut_off = image_range is None and np.mean((values < black) | (values > white)) > _CUT_OFF
    few = int(levels.max()) - int(levels.min()) < FAINT
    return FaintImage(pixels.bits, low, high) if few or cut_off else None


def check_faint_images(
    names: Sequence[str], images: Sequence[FaintImage | None], option: str
) -> Iterator[Finding]:
    """Yield the faint images, and the setting that makes their values visible.

    Args:
        names: Of the images.
        images: What :func:`faint` returns for each.
        option: The option of the setting, to which the values are appended.
    """
    found = [(name, image) for name, image in zip(names, images, strict=True) if image is not None]
    if not found:
        return
    deep = [image for _, image in found if image.bits > 8 and image.low < image.high]
    fix = "Look at them with  --html  ; images of 8 bits are used as they are."
    if deep:
        black, white = _whole_range(min(x.low for x in deep), max(x.high for x in deep))
        fix = f"Say which values are black and white, for example  {option}{black:g},{white:g}"
    what = "Images that are nearly black, white or of one colour to a network"
    cases = (f"{name} ({image})" for name, image in found)
    yield summarise("image-dark", "warning", what, cases, len(found), fix, of=len(images))


def check_some_images(index: DatasetIndex, option: str) -> Iterator[Finding]:
    """As :func:`check_faint_images`, for the images of more than 8 bits among some of an index.

    The message ends with the setting.
    """
    count = min(_SAMPLED, len(index))
    positions = np.linspace(0, len(index) - 1, count).astype(int).tolist()
    images = [_deep_and_faint(index, position) for position in positions]
    for found in check_faint_images([index.name(each) for each in positions], images, option):
        yield replace(found, message=f"{found.message} {found.fix}")


def _deep_and_faint(index: DatasetIndex, position: int) -> FaintImage | None:
    path = index.path(position)
    try:
        with Image.open(path, formats=PILLOW_FORMATS) as opened:
            if bits_per_value(opened) <= 8:
                return None
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=PILLOW_FORMATS) as opened:
            return faint(decode(content, opened), index.image_range)
    except Exception:  # Pillow's readers raise almost anything; training reports the file
        return None


def _whole_range(low: float, high: float) -> ImageRange:
    """Return round numbers around the values of images: 0 and 4095 for 12 bits, 0 and 1."""
    white = 1 if 0 < high <= 1 else 2 ** math.ceil(math.log2(high + 1)) - 1 if high > 0 else 0
    if low >= 0 and high - low >= white / 4:
        return 0, white
    return math.floor(low), math.ceil(high)
