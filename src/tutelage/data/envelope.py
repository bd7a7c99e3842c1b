"""What precedes every record: proof that it is about the very picture that is shown.

The name of a store says which data, augmentation and size it is about. Files may change behind it,
so a record also holds the size and a thumbnail of its picture, which a reader compares. Other
builds of OpenCV round differently, hence a tolerance.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.structures import Records

SIDE = 4
THUMBNAIL = SIDE * SIDE * 3
"""Bytes of a thumbnail."""

_SIZE = struct.Struct("<HH")
_LENGTH = _SIZE.size + THUMBNAIL
_TOLERANCE = 3  # of 255, in an average over a sixteenth of the picture


def thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the ``(48,)`` averages over 4 x 4 fields of an image ``(h, w, 3)``."""
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8).reshape(-1)


def seal(content: bytes, size: tuple[int, int], thumb: NDArray[np.uint8]) -> bytes:
    """Return a record: the content after height, width and thumbnail of its picture."""
    return b"".join((_SIZE.pack(*size), thumb.tobytes(), content))


def unseal(
    record: bytes | None, size: tuple[int, int], thumb: NDArray[np.uint8]
) -> memoryview[Any] | None:
    """Return the content of a record; None if it is about another picture, or there is none."""
    if record is None or len(record) < _LENGTH or _SIZE.unpack_from(record) != size:
        return None
    stored = np.frombuffer(record, np.uint8, THUMBNAIL, _SIZE.size)
    if np.abs(stored.astype(np.int16) - thumb).max() > _TOLERANCE:
        return None
    return memoryview(record)[_LENGTH:]


def join(parts: Sequence[bytes | memoryview | None]) -> Records:
    """Return contents as records; None: there is none."""
    joined = bytearray().join(each for each in parts if each is not None)
    content = (
        torch.frombuffer(joined, dtype=torch.uint8) if joined else torch.empty(0, dtype=torch.uint8)
    )
    lengths = [-1 if each is None else len(each) for each in parts]
    return Records(content, torch.tensor(lengths, dtype=torch.int64))


def split(records: Records) -> Iterator[bytes | None]:
    """Yield the content of each image's record; None: there is none."""
    content, start = records.content.cpu().numpy().tobytes(), 0
    for length in records.length.tolist():
        yield None if length < 0 else content[start : start + length]
        start += max(length, 0)
