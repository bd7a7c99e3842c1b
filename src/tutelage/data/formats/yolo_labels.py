"""One YOLO label file: ``class x y w h`` or ``class x1 y1 x2 y2 x3 y3 ...`` per line, in 0..1."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import NamedTuple

from tutelage.sanitise import printable

TOLERANCE = 1e-3  # writers round; what is this little outside is clipped
_BOX, _SHORTEST_POLYGON = 5, 7
_SURELY_PIXELS = 2.0
_LARGEST_CLASS = 2**31 - 1


class LabelFault(IntEnum):
    """What can be wrong with a label line, or with an object of another format."""

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


class LabelBox(NamedTuple):
    """A box: class, normalised corners clipped to the image, and the line it stands on (from 1).

    The class is a name where the format has names only.
    """

    label: int | str
    xyxy: tuple[float, float, float, float]
    line: int


class BadLabelLine(NamedTuple):
    """A line that gives no box, or not the one that it names."""

    line: int
    fault: LabelFault
    text: str


def parse_labels(text: str) -> tuple[list[LabelBox], list[BadLabelLine]]:
    """Read a label file.

    Each line is judged by itself: five values are a box, an odd number from seven on is a polygon,
    of which the bounding box is taken.

    Args:
        text: The content of the file.

    Returns:
        The boxes in file order without duplicates, and the lines that gave none.
    """
    rows: list[LabelBox] = []
    bad: list[BadLabelLine] = []
    seen: set[tuple[int, tuple[float, float, float, float]]] = set()
    for number, line in enumerate(text.splitlines(), 1):
        tokens = line.split()
        if not tokens:
            continue
        found = _parse_line(tokens)
        if not isinstance(found, LabelFault):
            label, xyxy = found
            if xyxy[2] <= xyxy[0] or xyxy[3] <= xyxy[1]:
                found = LabelFault.EMPTY
            elif found in seen:
                found = LabelFault.DUPLICATE
            else:
                seen.add(found)
                rows.append(LabelBox(label, xyxy, number))
                continue
        bad.append(BadLabelLine(number, found, printable(line.strip()[:80])))
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
