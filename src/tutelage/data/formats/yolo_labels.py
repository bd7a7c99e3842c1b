"""One YOLO label file: ``class x y w h`` or ``class x1 y1 x2 y2 x3 y3 ...`` per line, in 0..1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from tutelage.data.index import Ignored
from tutelage.sanitise import printable

TOLERANCE = 1e-3  # coordinates this little outside, from rounding, are clipped
_BOX = 4  # values after the class
_MOST_EXTRA = 2  # columns that trackers add: score and track id
_SURELY_PIXELS = 2.0
_FAR_OUTSIDE = -1.0  # corners may lie this far from the image, at the other side up to 2
_LARGEST_CLASS = 2**31 - 1

Corners = tuple[float, float, float, float]
Points = Sequence[tuple[float, float]]


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
    SCORE = 11
    TRACK = 12
    SCORE_AND_TRACK = 13
    COLUMN = 14
    HALF_POINT = 15
    ORIGIN = 16


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
    xyxy: Corners
    line: int
    area: float = math.nan
    ignored: Ignored = Ignored.NO


class BadLabelLine(NamedTuple):
    """A line that gives no box, or a corrected one."""

    line: int
    fault: LabelFault
    text: str


def parse_labels(
    text: str,
    size_wh: tuple[int, int] = (1000, 1000),
    keypoints: tuple[int, int] | None = None,
) -> tuple[list[LabelBox], list[BadLabelLine]]:
    """Read a label file.

    Five values on a line are a box. More are a polygon, which gives the bounding box of its part
    in the image, unless ``keypoints`` says that they are a box and its key points.

    Args:
        text: The content of the file.
        size_wh: Size of the image in pixels; boxes that reach over its edge by more than one are
            reported.
        keypoints: The number of key points per object and of values per key point.

    Returns:
        The boxes in file order without duplicates, and the lines that are not used as they are.
    """
    rows: list[LabelBox] = []
    bad: list[BadLabelLine] = []
    seen: set[tuple[int, Corners]] = set()
    for number, line in enumerate(text.splitlines(), 1):
        tokens = line.split()
        if not tokens:
            continue
        parsed = parse_line(tokens, keypoints)
        if isinstance(parsed, LabelFault):
            fault = parsed
        else:
            label, corners, polygon = parsed
            xyxy, fault = corners, None
            left, top, right, bottom = corners
            if right <= left or bottom <= top:
                fault = LabelFault.EMPTY
            elif left < 0 or top < 0 or right > 1 or bottom > 1:
                xyxy, fault = _clip(corners, polygon, size_wh)
            if fault is None or fault == LabelFault.CLIPPED:
                if (label, xyxy) in seen:
                    fault = LabelFault.DUPLICATE
                else:
                    seen.add((label, xyxy))
                    rows.append(LabelBox(label, xyxy, number))
        if fault is not None:
            bad.append(BadLabelLine(number, fault, printable(line.strip()[:80])))
    return rows, bad


def parse_line(
    tokens: Sequence[str], keypoints: tuple[int, int] | None = None
) -> tuple[int, Corners, Points] | LabelFault:
    """Return class, corners and polygon of a line, or why there are none.

    Args:
        tokens: The columns of the line.
        keypoints: See :func:`parse_labels`.

    Returns:
        The class, the corners of the bounding box, which may reach over the edge of the image, and
        the points of the polygon; none for a box.
    """
    if len(tokens) <= _BOX:
        return LabelFault.SHAPE
    try:
        category, *values = map(float, tokens)
    except ValueError:
        return LabelFault.NUMBER
    if not math.isfinite(category) or not all(map(math.isfinite, values)):
        return LabelFault.NUMBER
    if not 0 <= category <= _LARGEST_CLASS or category != int(category):
        return LabelFault.CLASS
    length = _BOX if len(values) == _BOX else _object_length(values, keypoints)
    if length is None:
        return LabelFault.SHAPE
    is_box = length == _BOX or keypoints is not None
    outline = _read_box(values[:_BOX]) if is_box else _read_polygon(values[:length])
    if isinstance(outline, LabelFault):
        return outline
    corners, polygon = outline
    if length < len(values):
        return _name_columns(tokens[length + 1 :], corners, is_box=is_box)
    return int(category), corners, polygon


def _object_length(values: Sequence[float], keypoints: tuple[int, int] | None) -> int | None:
    """Return how many values are a box, a polygon, or a box and its key points."""
    count = len(values)
    if keypoints is not None:
        whole = _BOX + keypoints[0] * keypoints[1]
        return next((n for n in (whole, _BOX) if 0 <= count - n <= _MOST_EXTRA), None)
    if count % 2:
        return count - 1
    return count - 2 if _is_track(*values[-2:]) else count


def _is_track(score: float, track: float) -> bool:
    """Return whether two values are a score and a track id, which cannot be a point."""
    return 0 <= score <= 1 and track >= _SURELY_PIXELS and track == int(track)


def _read_box(values: Sequence[float]) -> tuple[Corners, Points] | LabelFault:
    x, y, width, height = values
    if max(values) > 1 + TOLERANCE or min(values) < -TOLERANCE:
        return LabelFault.PIXELS if max(values) > _SURELY_PIXELS else LabelFault.RANGE
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2), ()


def _read_polygon(values: Sequence[float]) -> tuple[Corners, Points] | LabelFault:
    xs, ys = values[0::2], values[1::2]
    left, top, right, bottom = corners = min(xs), min(ys), max(xs), max(ys)
    if max(right, bottom) > _SURELY_PIXELS:
        return LabelFault.PIXELS
    if min(left, top) < _FAR_OUTSIDE:
        return LabelFault.RANGE
    return corners, tuple(zip(xs, ys, strict=True))


def _name_columns(tokens: Sequence[str], corners: Corners, *, is_box: bool) -> LabelFault:
    """Return what the one or two columns after an object are."""
    last = float(tokens[-1])
    whole = last == int(last) and (last > 1 or (last >= 0 and "." not in tokens[-1]))
    if not is_box and len(tokens) == 1 and not (whole and last > 1):
        return LabelFault.HALF_POINT
    # Detectors clip their boxes: over the edge, the columns may be in another order.
    if is_box and (min(corners) < -TOLERANCE or max(corners) > 1 + TOLERANCE):
        return LabelFault.COLUMN
    if len(tokens) == _MOST_EXTRA:
        return LabelFault.SCORE_AND_TRACK if whole else LabelFault.COLUMN
    if whole:
        return LabelFault.TRACK
    return LabelFault.SCORE if 0 <= last <= 1 else LabelFault.COLUMN


def _clip(
    corners: Corners, polygon: Points, size_wh: tuple[int, int]
) -> tuple[Corners, LabelFault | None]:
    """Return the corners of the part of an object in the image, and the fault of its line."""
    if polygon:
        visible = _cut_at_edges(polygon)
        if not visible:
            return corners, LabelFault.RANGE
        xs, ys = zip(*visible, strict=True)
        clipped = min(xs), min(ys), max(xs), max(ys)
    else:
        clipped = corners
    left, top, right, bottom = (min(max(value, 0.0), 1.0) for value in clipped)
    if right <= left or bottom <= top:
        return corners, LabelFault.RANGE if polygon else LabelFault.EMPTY
    width, height = size_wh
    beyond = max(-corners[0] * width, -corners[1] * height)
    beyond = max(beyond, (corners[2] - 1) * width, (corners[3] - 1) * height)
    return (left, top, right, bottom), LabelFault.CLIPPED if beyond > 1 else None


def _cut_at_edges(polygon: Points) -> Points:
    """Return the part of a polygon in the image (Sutherland and Hodgman, 1974)."""
    for axis in (0, 1):
        for edge, inwards in ((0.0, 1), (1.0, -1)):
            kept: list[tuple[float, float]] = []
            for start, end in zip((*polygon[-1:], *polygon[:-1]), polygon, strict=True):
                before, after = (inwards * (point[axis] - edge) for point in (start, end))
                if (before < 0) != (after < 0):
                    share = before / (before - after)
                    crossing = (p + share * (q - p) for p, q in zip(start, end, strict=True))
                    kept.append((next(crossing), next(crossing)))
                if after >= 0:
                    kept.append(end)
            polygon = kept
    return polygon
