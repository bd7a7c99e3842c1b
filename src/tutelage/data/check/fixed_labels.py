"""The labels of a cleaned copy: as YOLO lines, with the objects that these cannot hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tutelage.data.check.label_encoding import plain_text
from tutelage.data.formats.build_index import OpenedSplit
from tutelage.data.formats.scan import read_labels
from tutelage.data.formats.scan_findings import OBJECT_FAULTS, extra_columns
from tutelage.data.formats.yolo import LINE_FAULTS
from tutelage.data.formats.yolo_labels import LabelFault, parse_labels, parse_line
from tutelage.errors import DataError

_KEPT = (LabelFault.CLIPPED, LabelFault.SIZE, LabelFault.DUPLICATE, LabelFault.ORIGIN)
"""These lose no object."""
_NO_NAME = "its class has no name"


class FixedLabels(NamedTuple):
    """The labels of an image.

    Attributes:
        lines: ``class x y w h``; None if there is no label file.
        lost: The objects that are not among them: place and reason.
    """

    lines: list[str] | None
    lost: list[tuple[str, str]]


def fix_labels(opened: OpenedSplit, names: Sequence[str]) -> Iterator[FixedLabels]:
    """Yield the labels of every image of a split.

    Args:
        opened: The split.
        names: Class names of the copy, in their order.
    """
    number = [names.index(name) for name in opened.index.names]
    yield from (_fix_lines if opened.listing.format == "YOLO" else _fix_objects)(opened, number)


def _fix_lines(opened: OpenedSplit, number: Sequence[int]) -> Iterator[FixedLabels]:
    listing, scan = opened.listing, opened.scan
    columns = extra_columns(scan)
    tracked = bool((scan.bad_fault == LabelFault.SCORE_AND_TRACK).any())
    for image, file in enumerate(listing.label_files):
        if not scan.labelled[image]:
            yield FixedLabels(None, [])
            continue
        try:
            text = plain_text(read_labels(file) or b"")
        except DataError as error:
            yield FixedLabels([], [(listing.short(file), error.what)])
            continue
        if columns:
            text = drop_columns(text, columns, listing.keypoints, tracked=tracked)
        width, height = scan.sizes[image].tolist()
        rows, bad = parse_labels(text, (width, height), listing.keypoints)
        lost = [(row.line, _NO_NAME) for row in rows if int(row.label) >= len(number)]
        lost += [(one.line, LINE_FAULTS[one.fault][2]) for one in bad if one.fault not in _KEPT]
        yield FixedLabels(
            [
                _line(number[int(row.label)], row.xyxy)
                for row in rows
                if int(row.label) < len(number)
            ],
            [(listing.locate(image, line), reason) for line, reason in sorted(lost)],
        )


def drop_columns(
    text: str,
    columns: Mapping[LabelFault, int],
    keypoints: tuple[int, int] | None = None,
    *,
    tracked: bool = False,
) -> str:
    """Return a label file without scores and track ids after its objects.

    Args:
        text: Its content.
        columns: How many columns to drop, by the fault of a line.
        keypoints: See :func:`~tutelage.data.formats.yolo_labels.parse_labels`.
        tracked: Other lines of the split end in a score and a track id. Then lines that end in the
            id 1, and could be polygons, do too.
    """
    lines = [line.split() for line in text.splitlines()]
    parsed = [parse_line(tokens, keypoints) for tokens in lines]
    polygons = [not isinstance(one, LabelFault) and len(one[2]) > 0 for one in parsed]
    for position, (tokens, one) in enumerate(zip(lines, parsed, strict=True)):
        if not isinstance(one, LabelFault):
            more = 2 if tracked and polygons[position] and float(tokens[-1]) == 1 else 0
        elif one == LabelFault.HALF_POINT and any(polygons):
            more = 0  # half a point: scores would follow the other polygons, too
        else:
            more = columns.get(one, 0)
        lines[position] = tokens[: len(tokens) - more]
    return "\n".join(map(" ".join, lines))


def _fix_objects(opened: OpenedSplit, number: Sequence[int]) -> Iterator[FixedLabels]:
    listing, scan, index = opened.listing, opened.scan, opened.index
    box_of = np.concatenate([[0], np.cumsum(scan.counts)])
    fault_of = np.searchsorted(scan.bad_image, np.arange(len(scan.counts) + 1))
    position = 0
    for image in range(len(scan.counts)):
        if not scan.labelled[image] or not scan.usable[image]:
            yield FixedLabels(None, [])
            position += int(scan.usable[image])
            continue
        item = index.item(position)
        position += 1
        corners = (item.xyxy.astype(np.float64) / np.tile(item.size_wh, 2)).tolist()
        lines = [
            _line(number[k], xyxy) for k, xyxy in zip(item.label.tolist(), corners, strict=True)
        ]
        boxes = range(box_of[image], box_of[image + 1])
        nameless = (box for box in boxes if not opened.kept[box] and not scan.ignored[box])
        lost = [(int(scan.lines[box]), _NO_NAME) for box in nameless]
        for one in range(fault_of[image], fault_of[image + 1]):
            fault = LabelFault(int(scan.bad_fault[one]))
            if fault not in _KEPT:
                lost.append((int(scan.bad_line[one]), OBJECT_FAULTS[fault][2]))
            if fault == LabelFault.FRAME:  # where its objects are is not known
                lines = []
        yield FixedLabels(lines, [(listing.locate(image, line), reason) for line, reason in lost])


def _line(label: int, xyxy: Sequence[float]) -> str:
    left, top, right, bottom = xyxy
    values = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    return f"{label} {' '.join(f'{value:.6f}' for value in values)}\n"
