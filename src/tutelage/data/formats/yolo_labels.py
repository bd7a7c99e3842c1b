"""One YOLO label file: ``class x y w h`` or ``class x1 y1 x2 y2 x3 y3 ...`` per line, in 0..1."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import NamedTuple

from tutelage.data.index import Ignored
from tutelage.sanitise import printable

TOLERANCE = 1e-3  # coordinates this little outside, from rounding, are clipped
_BOX, _SHORTEST_POLYGON = 5, 7
_SURELY_PIXELS = 2.0
_LARGEST_CLASS = 2**31 - 1


class LabelFault(IntEnum):
    """The faults of a label line, or of an object of another format."""

    SHAPE = 0
    NUMBER = 1
    CLASS = 2
    RANGE = 3
    PIXELS = 4
    DUPLICATE = 5
    EMPTY = 6
    CLIPPED = 7
    IGNORED = 8
    SIZE = 9
    FRAME = 10


class LabelBox(NamedTuple):
    """A box of a label file.

    Attributes:
        label: Class number or name.
        xyxy: Corners in 0..1, clipped to the image.
        line: Its line, from 1, or its number in a COCO json.
        area: Area of the object in square pixels; NaN: not given.
        ignored: Whether evaluations ignore it; such a box is not trained on.
    """

    label: int | str
    xyxy: tuple[float, float, float, float]
    line: int
    area: float = math.nan
    ignored: Ignored = Ignored.NO


class BadLabelLine(NamedTuple):
    """A line that gives no box, or a corrected one."""

    line: int
    fault: LabelFault
    text: str


def parse_labels(text: str) -> tuple[list[LabelBox], list[BadLabelLine]]:
    """Read a label file.

    Five values on a line are a box; an odd number from seven on is a polygon, which gives its
    bounding box.

    Args:
        text: The content of the file.

    Returns:
        The boxes in file order without duplicates, and the unusable lines.
    """
    rows: list[LabelBox] = []
    bad: list[BadLabelLine] = []
    seen: set[tuple[int, tuple[float, float, float, float]]] = set()
    for number, line in enumerate(text.splitlines(), 1):
        tokens = line.split()
        if not tokens:
            continue
        parsed = _parse_line(tokens)
        if not isinstance(parsed, LabelFault):
            label, xyxy = parsed
            if xyxy[2] <= xyxy[0] or xyxy[3] <= xyxy[1]:
                parsed = LabelFault.EMPTY
            elif parsed in seen:
                parsed = LabelFault.DUPLICATE
            else:
                seen.add(parsed)
                rows.append(LabelBox(label, xyxy, number))
                continue
        bad.append(BadLabelLine(number, parsed, printable(line.strip()[:80])))
    return rows, bad


def _parse_line(
    tokens: list[str],
) -> tuple[int, tuple[float, float, float, float]] | LabelFault:
    count = len(tokens)
    if count != _BOX and (count < _SHORTEST_POLYGON or count % 2 == 0):
        return LabelFault.SHAPE
    try:
        category, *values = map(float, tokens)
    except ValueError:
        return LabelFault.NUMBER
    if not math.isfinite(category) or not all(map(math.isfinite, values)):
        return LabelFault.NUMBER
    if not 0 <= category <= _LARGEST_CLASS or category != int(category):
        return LabelFault.CLASS
    if max(values) > 1 + TOLERANCE or min(values) < -TOLERANCE:
        return LabelFault.PIXELS if max(values) > _SURELY_PIXELS else LabelFault.RANGE
    if count == _BOX:
        x, y, width, height = values
        corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    else:
        xs, ys = values[0::2], values[1::2]
        corners = (min(xs), min(ys), max(xs), max(ys))
    left, top, right, bottom = (min(max(value, 0.0), 1.0) for value in corners)
    return int(category), (left, top, right, bottom)
