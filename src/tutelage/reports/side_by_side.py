"""Pictures with the detections of every arm, those first on which the arms disagree most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from hotcoco.primitives import bbox_iou
from numpy.typing import NDArray

from tutelage.data import DatasetIndex
from tutelage.data.image import read_image
from tutelage.data.letterbox import fit_wh, resize
from tutelage.errors import DataError
from tutelage.evaluation.coco import Table
from tutelage.pages import data_uri

SHOWN, SIDE, QUALITY = 12, 360, 78
LEAST = 0.05  # scores below are not in the page
MOST = 60  # detections of an arm in a picture
IOU = 0.5
Boxes = NDArray[np.float64]


class Box(NamedTuple):
    """A box in pixels of the picture.

    Attributes:
        x: Its left side.
        y: Its upper side.
        w: Its width.
        h: Its height.
        score: Of a detection its own, of an object that of the detection that finds it; 0: none.
        kind: ``hit``, ``false`` or ``object``.
        label: The name of its class.
    """

    x: float
    y: float
    w: float
    h: float
    score: float
    kind: str
    label: str


class Picture(NamedTuple):
    """An image of the report.

    Attributes:
        title: Its name.
        size_wh: Width and height as shown.
        jpeg: As a data URI.
        objects: Its objects.
        panels: By the name of an arm, its detections and the objects with the score at which it
            finds them.
    """

    title: str
    size_wh: tuple[int, int]
    jpeg: str
    objects: tuple[Box, ...]
    panels: Mapping[str, tuple[Box, ...]]


def match(
    boxes: Boxes, labels: NDArray[Any], others: Boxes, other_labels: NDArray[Any]
) -> list[int]:
    """Match boxes, the best first, each with the free one of its class that it overlaps most.

    Args:
        boxes: ``(n, 4)`` x, y, w, h.
        labels: ``(n,)`` their classes.
        others: ``(m, 4)`` the boxes to be found.
        other_labels: ``(m,)`` their classes.

    Returns:
        For each box the number of its partner at IoU 0.5 or more; -1: none.
    """
    partners = [-1] * len(boxes)
    if not len(boxes) or not len(others):
        return partners
    overlaps = bbox_iou(boxes, others, np.zeros(len(others), np.bool_))
    overlaps = np.where(labels[:, None] == other_labels[None], overlaps, 0.0)
    for number in range(len(boxes)):
        best = int(overlaps[number].argmax())
        if overlaps[number, best] >= IOU:
            partners[number] = best
            overlaps[:, best] = 0.0
    return partners


def disagreement(a: Table, b: Table) -> float:
    """Return 1 − F1 of two sets of detections of an image, ``(n, 7)``; 0 if both are empty."""
    if not len(a) and not len(b):
        return 0.0
    a = a[np.argsort(-a[:, 5], kind="stable")]
    found = sum(partner >= 0 for partner in match(a[:, 1:5], a[:, 6], b[:, 1:5], b[:, 6]))
    return 1 - 2 * found / (len(a) + len(b))


def most_different(
    index: DatasetIndex, tables: Sequence[Table], threshold: float, count: int = SHOWN
) -> list[int]:
    """Return the positions of images, those with the largest disagreement first.

    Args:
        index: The images.
        tables: Detections of the first and the last arm; one arm is compared with the objects.
        threshold: Detections score more than this.
        count: How many images.
    """
    first = _by_image(tables[0][tables[0][:, 5] > threshold], len(index))
    if len(tables) > 1:
        last = _by_image(tables[-1][tables[-1][:, 5] > threshold], len(index))
    else:
        last = [_objects(index, position) for position in range(len(index))]
    values = [disagreement(a, b) for a, b in zip(first, last, strict=True)]
    return np.argsort(-np.array(values), kind="stable")[:count].tolist()


def pictures(
    index: DatasetIndex, tables: Mapping[str, Table], positions: Sequence[int]
) -> list[Picture]:
    """Return images with the detections of each arm; those that cannot be read are left out."""
    shown: list[Picture] = []
    for position in positions:
        item = index.item(position)
        try:
            image = read_image(item.path, item.size_wh, index.image_range)
        except DataError:
            continue
        size_wh = fit_wh(item.size_wh, SIDE)
        scale = np.tile(np.divide(size_wh, item.size_wh), 2)
        objects = _objects(index, position)
        objects[:, 1:5] *= scale
        panels = {}
        for name, table in tables.items():
            own = table[(table[:, 0] == position) & (table[:, 5] > LEAST)]
            own = own[np.argsort(-own[:, 5], kind="stable")][:MOST].copy()
            own[:, 1:5] *= scale
            panels[name] = _panel(own, objects, index.names)
        shown.append(
            Picture(
                index.name(position),
                size_wh,
                data_uri(resize(image, size_wh, smooth=True), QUALITY),
                tuple(_box(row, 1.0, "object", index.names) for row in objects),
                panels,
            )
        )
    return shown


def _panel(own: Table, objects: Table, names: Sequence[str]) -> tuple[Box, ...]:
    partners = match(own[:, 1:5], own[:, 6], objects[:, 1:5], objects[:, 6])
    found = np.zeros(len(objects))
    for row, partner in zip(own, partners, strict=True):
        if partner >= 0:
            found[partner] = row[5]
    drawn = [
        _box(row, row[5], "hit" if partner >= 0 else "false", names)
        for row, partner in zip(own, partners, strict=True)
    ]
    return (*(_box(row, s, "object", names) for row, s in zip(objects, found, strict=True)), *drawn)


def _box(row: NDArray[np.float64], score: float, kind: str, names: Sequence[str]) -> Box:
    x, y, w, h = (round(float(value), 1) for value in row[1:5])
    return Box(x, y, w, h, round(float(score), 4), kind, names[int(row[6])])


def _objects(index: DatasetIndex, position: int) -> Table:
    """Return the objects of an image as rows of a table, with score 1."""
    item = index.item(position)
    table = np.ones((len(item.label), 7))
    table[:, 0], table[:, 6] = position, item.label
    table[:, 1:3], table[:, 3:5] = item.xyxy[:, :2], item.xyxy[:, 2:] - item.xyxy[:, :2]
    return table


def _by_image(table: Table, images: int) -> list[Table]:
    table = table[np.argsort(table[:, 0], kind="stable")]
    edges = np.searchsorted(table[:, 0], np.arange(images + 1))
    return [table[a:b] for a, b in pairwise(edges.tolist())]
