"""Boxes in pixels to rows: clipped, without those that have no area or come twice."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from tutelage.data.formats.yolo_labels import BadLabelLine, LabelBox, LabelFault
from tutelage.sanitise import printable

TOLERANCE = 1.0  # pixels; writers count from 0 or from 1


class PixelBox(NamedTuple):
    """An object of a label file: class name, corners in pixels, its place, what is shown of it."""

    name: str
    xyxy: tuple[float, float, float, float]
    line: int
    text: str


def to_rows(
    boxes: Iterable[PixelBox], size_wh: tuple[int, int]
) -> tuple[list[LabelBox], list[BadLabelLine]]:
    """Return the usable boxes in 0…1, and what was wrong with the others.

    Args:
        boxes: Objects with finite or infinite corners.
        size_wh: The size of their image.
    """
    width, height = size_wh
    rows: list[LabelBox] = []
    bad: list[BadLabelLine] = []
    seen: set[tuple[str, tuple[float, ...]]] = set()
    for name, xyxy, line, text in boxes:

        def tell(fault: LabelFault, line: int = line, text: str = text) -> None:
            bad.append(BadLabelLine(line, fault, printable(text[:80])))

        if not all(map(math.isfinite, xyxy)):
            tell(LabelFault.NUMBER)
            continue
        if xyxy[2] <= xyxy[0] or xyxy[3] <= xyxy[1]:
            tell(LabelFault.EMPTY)
            continue
        left, top, right, bottom = (
            min(max(value, 0.0), float(side))
            for value, side in zip(xyxy, (width, height) * 2, strict=True)
        )
        clipped = (left, top, right, bottom)
        if right <= left or bottom <= top:
            tell(LabelFault.RANGE)
            continue
        if (name, clipped) in seen:
            tell(LabelFault.DUPLICATE)
            continue
        if max(abs(a - b) for a, b in zip(xyxy, clipped, strict=True)) > TOLERANCE:
            tell(LabelFault.CLIPPED)
        seen.add((name, clipped))
        normalised = (left / width, top / height, right / width, bottom / height)
        rows.append(LabelBox(name, normalised, line))
    return rows, bad


def told_size(
    line: int, told_wh: tuple[float, float], size_wh: tuple[int, int]
) -> list[BadLabelLine]:
    """Return a fault if a label file tells another image size; a size that is not given is 0."""
    if min(told_wh) <= 0 or told_wh == size_wh:
        return []
    told, real = ("{:g}x{:g}".format(*wh) for wh in (told_wh, size_wh))
    return [BadLabelLine(line, LabelFault.SIZE, f"{told}, the image is {real}")]
