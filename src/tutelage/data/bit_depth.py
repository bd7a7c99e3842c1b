"""Images of more than 8 bits per value: how many they have, and how they become 8."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

ImageRange = tuple[float, float]
"""The values that become black and white."""

DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "F")
"""Pillow's modes of one channel with more than 8 bits. In colour it keeps the high bytes alone."""

_BITS_PER_SAMPLE = 258  # tag of a TIFF


def bits_per_value(image: Image.Image) -> int:
    """Return the bits of each value of an opened image, by its header."""
    tags = getattr(image, "tag_v2", None)
    if tags is not None:
        return max(tags.get(_BITS_PER_SAMPLE, (1,)))
    if image.mode in DEEP_MODES:
        return 16 if image.mode.startswith("I;") or image.format != "TIFF" else 32
    return 16 if any(";16" in str(tile[3]) for tile in getattr(image, "tile", ())) else 8


def black_and_white(bits: int) -> ImageRange:
    """Return the values that are black and white if nothing else is said.

    As in PNG and OpenCV the largest number of up to 16 bits is white. Wider integers and floats
    have no such number: their values are taken as if they had 8 bits.
    """
    return (0, 2**bits - 1) if bits <= 16 else (0, 255)


def to_8_bits(
    values: NDArray[np.generic], bits: int, image_range: ImageRange | None = None
) -> NDArray[np.uint8]:
    """Scale an image to ``(h, w, 3)`` uint8, rounded; values outside of the range are clipped.

    Args:
        values: ``(h, w)`` or ``(h, w, 3)`` of any type; uint8 is returned as it is.
        bits: Bits per value.
        image_range: The values of black and white; None: :func:`black_and_white`.
    """
    if values.dtype == np.uint8:
        return np.asarray(values, np.uint8)
    low, high = image_range or black_and_white(bits)
    kind = np.float32 if bits <= 16 else np.float64
    scaled = (values.astype(kind) - kind(low)) * kind(255 / (high - low))
    pixels = np.rint(np.nan_to_num(scaled, nan=0).clip(0, 255)).astype(np.uint8)
    return pixels if pixels.ndim == 3 else np.asarray(cv2.merge([pixels] * 3), np.uint8)
