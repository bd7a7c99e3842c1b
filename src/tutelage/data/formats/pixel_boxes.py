"""Normalises boxes in pixels: clips them, drops boxes without area and duplicates."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from tutelage.data.formats.yolo_labels import BadLabelLine, LabelBox, LabelFault
from tutelage.data.index import Ignored
from tutelage.sanitise import printable

TOLERANCE = 1.0  # pixels; writers count from 0 or from 1


class PixelBox(NamedTuple):
    """An object of a label file, with corners in pixels and a text for messages.

    The other fields are those of :class:`~tutelage.data.formats.yolo_labels.LabelBox`.
    """

    name: str
    xyxy: tuple[float, float, float, float]
    line: int
    text: str
    area: float = math.nan
    ignored: Ignored = Ignored.NO


def normalise_boxes(
    boxes: Iterable[PixelBox], size_wh: tuple[int, int]
) -> tuple[list[LabelBox], list[BadLabelLine]]:
    """Return the usable boxes with corners in 0…1, and the faults of the others.

    Ignored boxes are returned, and told, too.

    Args:
        boxes: The objects; corners may be infinite or NaN.
        size_wh: The size of their image.
    """
    width, height = size_wh
    rows: list[LabelBox] = []
    bad: list[BadLabelLine] = []
    seen: set[tuple[str, tuple[float, ...], Ignored]] = set()
    for name, xyxy, line, text, area, ignored in boxes:
        left, top, right, bottom = clipped = tuple(
            min(max(value, 0.0), float(side))
            for value, side in zip(xyxy, (width, height) * 2, strict=True)
        )
        fault = None
        if not all(map(math.isfinite, xyxy)):
            fault = LabelFault.NUMBER
        elif xyxy[2] <= xyxy[0] or xyxy[3] <= xyxy[1]:
            fault = LabelFault.EMPTY
        elif right <= left or bottom <= top:
            fault = LabelFault.RANGE
        elif (name, clipped, ignored) in seen:
            fault = LabelFault.DUPLICATE
        else:
            seen.add((name, clipped, ignored))
            normalised = (left / width, top / height, right / width, bottom / height)
            rows.append(LabelBox(name, normalised, line, area, ignored))
            if ignored:
                fault = LabelFault.IGNORED
            elif max(abs(a - b) for a, b in zip(xyxy, clipped, strict=True)) > TOLERANCE:
                fault = LabelFault.CLIPPED
        if fault is not None:
            bad.append(BadLabelLine(line, fault, printable(text[:80])))
    return rows, bad
