"""YOLO label lines longer than a box: ``kpt_shape`` of the data yaml, and what they are without."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from tutelage.data.findings import Finding
from tutelage.data.formats.scan import SplitRequest, read_labels
from tutelage.errors import DataError
from tutelage.sanitise import printable

_KEY = "kpt_shape"
_BOX = 5  # columns of a class and a box
_DIMENSIONS = {2: "x y", 3: "x y visible"}
_VISIBILITIES = (0, 1, 2)  # not labelled, hidden, visible
_FILES, _LINES_OF_A_FILE = 64, 16  # the sample
_FEWEST = 4  # lines from which coordinates alone tell polygons from boxes with more columns
_SHARE = 0.25  # of the sample: lines of one length
_MOST, _HALF = 0.9, 0.5
_LARGEST = 1e6
_ROUNDING = 0.01
_MARGIN = 0.75  # in box sizes: key points lie this near to the centre
_ROUNDNESS = 0.3  # of a square: 0.79; of a rectangle of 1 to 8: 0.31


class _LongLine(NamedTuple):
    place: str
    values: list[float]


class _KeyPoints(NamedTuple):
    shape: tuple[int, int]
    certain: bool


def read_kpt_shape(path: Path, document: Mapping[str, object]) -> tuple[int, int] | None:
    """Return ``kpt_shape`` of a data yaml: key points per object, and values per key point.

    Raises:
        DataError: It is something else than two numbers, the second of them 2 or 3.
    """
    value = document.get(_KEY)
    if value is None:
        return None
    items = cast("list[object]", value) if isinstance(value, list) else []
    numbers = [item for item in items if isinstance(item, int) and not isinstance(item, bool)]
    if len(items) == len(numbers) == 2 and numbers[0] > 0 and numbers[1] in _DIMENSIONS:
        return numbers[0], numbers[1]
    raise DataError(
        f"{path.name}: {_KEY} must give the number of key points and of the values of each, "
        f"2 (x y) or 3 (x y visible), but got {value!r}.",
        fix=f"Write for example  {_KEY}: [17, 3]",
        code="D01",
    )


def check_long_lines(label_files: Sequence[str], request: SplitRequest) -> list[Finding]:
    """Return a warning if the polygons of a split look like boxes with key points.

    A sample is read. Polygons have many lengths; boxes with key points have one.

    Args:
        label_files: The label files of the split that exist.
        request: The split.

    Raises:
        DataError: The lines are certainly no polygons.
    """
    lines = _sample(label_files, f"{request.root}{os.sep}")
    lengths = Counter(len(line.values) for line in lines)
    for length, count in lengths.items():
        if count >= _SHARE * len(lines):
            findings = _examine([line for line in lines if len(line.values) == length], request)
            if findings:
                return findings
    return []


def _examine(lines: Sequence[_LongLine], request: SplitRequest) -> list[Finding]:
    """Return a warning if lines of one length look like boxes with key points."""
    values = np.array([line.values for line in lines])
    count, length = values.shape
    name, columns = Path(request.source).name, f"{length + 1} columns"
    found = _find_key_points(values)
    if found is None:
        if length % 2 == 0 and count >= _FEWEST and (values[:, -1] == 1).all():
            what = f"Label lines of {columns} end in a score and a track id, e.g. {lines[0].place}."
            raise DataError(what, fix="Remove the last two columns.", code="D03")
        return []
    number, dimension = found.shape
    what = f"Label lines of {columns} look like a box and {number} key "
    what += f"point{'s' * (number > 1)} ({_DIMENSIONS[dimension]}), e.g. {lines[0].place}, but "
    fix = f"add  {_KEY}: [{number}, {dimension}]  to {name}; then the boxes are used."
    if found.certain:
        raise DataError(f"{what}{name} has no {_KEY}.", fix=f"A{fix[1:]}", code="D03")
    if count < _FEWEST or _could_be_polygons(values):
        return []
    what += f"without {_KEY} they are read as polygons."
    places = (lines[0].place,)
    return [Finding("label-key-points", "warning", what, places, count, f"If they are, {fix}")]


def _sample(label_files: Sequence[str], root: str) -> list[_LongLine]:
    """Return lines with more columns than a box and a score, from files all over the split."""
    lines: list[_LongLine] = []
    for file in label_files[:: max(len(label_files) // _FILES, 1)][:_FILES]:
        try:
            text = (read_labels(file) or b"").decode("utf-8-sig", "replace")
        except DataError:
            continue
        for number, line in enumerate(text.splitlines()[:_LINES_OF_A_FILE], 1):
            tokens = line.split()
            if len(tokens) <= _BOX + 1:
                continue
            try:
                values = [float(token) for token in tokens[1:]]
            except ValueError:
                continue
            if not all(abs(value) < _LARGEST for value in values):  # NaN is not, either
                continue
            excerpt = printable(line.strip()[:80])
            lines.append(_LongLine(f'{file.removeprefix(root)}:{number} "{excerpt}"', values))
    return lines


def _find_key_points(values: NDArray[np.float64]) -> _KeyPoints | None:
    """Return the key points that lines ``(k, 4 + n * d)`` may hold after their boxes."""
    length = values.shape[1]
    centre, size = values[:, None, :2], values[:, None, 2:4]
    reach = np.abs(centre - 0.5) + size / 2
    in_image = ((size > 0) & (reach <= 0.5 + _ROUNDING)).all((1, 2))
    if in_image.mean() < _MOST:
        return None
    if (length - 4) % 3 == 0 and np.isin(values[:, 6::3], _VISIBILITIES).all():
        return _KeyPoints(((length - 4) // 3, 3), certain=True)
    for dimension in _DIMENSIONS:
        if (length - 4) % dimension:
            continue
        points = values[:, 4:].reshape(len(values), -1, dimension)[..., :2]
        in_box = (np.abs(points - centre) <= _MARGIN * size).all(2) | (points == 0).all(2)
        if (in_image & in_box.all(1)).mean() >= _MOST:
            return _KeyPoints((points.shape[1], dimension), certain=length % 2 == 1)
    return None


def _could_be_polygons(values: NDArray[np.float64]) -> bool:
    """Return whether most lines have an outline: 4π · area / perimeter², which is 1 for a circle.

    As the points of a polygon, width and height lie apart, and key points are in no order.
    """
    points = values.reshape(len(values), -1, 2)
    following = np.roll(points, -1, axis=1)
    cross = points[..., 0] * following[..., 1] - following[..., 0] * points[..., 1]
    area, perimeter = np.abs(cross.sum(1)) / 2, np.linalg.norm(following - points, axis=2).sum(1)
    return bool((4 * np.pi * area >= _ROUNDNESS * perimeter**2).mean() > _HALF)
