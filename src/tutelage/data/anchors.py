"""Anchors that fit the boxes of a data set: how many boxes they can reach, and finding better ones.

An anchor reaches a box whose sides are less than ``max_ratio`` times as large or as small as its
own. What no anchor reaches no prediction is taught to find.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tutelage.data.index import DatasetIndex

ENOUGH = 0.98
"""Best possible recall from which YOLOv7 and YOLOv5 keep their anchors."""

Floats = NDArray[np.float64]

_MOST = 5_000  # boxes that the search looks at
_RESTARTS, _ROUNDS = 30, 50
_GENERATIONS = 1000
_JITTER = (0.9, 1.1)
_SMALLEST = 2.0  # px


def sides(index: DatasetIndex, image_size: int, rng: np.random.Generator | None = None) -> Floats:
    """Return ``(n, 2)`` widths and heights of all boxes in pixels of the training canvas.

    Args:
        index: The images.
        image_size: Side of the canvas that the longer side of an image is brought to.
        rng: Vary the size of each image by up to a tenth, as augmentation does; None: do not.
    """
    scale = image_size / index.sizes.max(1)
    if rng is not None:
        scale = scale * rng.uniform(*_JITTER, len(scale))
    boxes = index.boxes.astype(np.float64)
    return (boxes[:, 2:] - boxes[:, :2]) * np.repeat(scale, index.counts)[:, None]


def recall(boxes: Floats, anchors: Floats, max_ratio: float) -> float:
    """Return the share of boxes that an anchor reaches.

    Args:
        boxes: ``(n, 2)`` widths and heights.
        anchors: ``(..., 2)`` in the same unit.
        max_ratio: Limit of the ratio test, above 1.

    Returns:
        The share in 0..1; 1 of no boxes.
    """
    if not len(boxes):
        return 1.0
    return float((_likeness(boxes, anchors.reshape(-1, 2)) > 1 / max_ratio).mean())


def search(boxes: Floats, count: int, max_ratio: float, rng: np.random.Generator) -> Floats | None:
    """Find anchors by k-means on the sides of the boxes, then by evolution.

    Args:
        boxes: ``(n, 2)`` widths and heights in pixels.
        count: How many anchors.
        max_ratio: Limit of the ratio test, above 1.
        rng: Source of all chance.

    Returns:
        ``(count, 2)`` in order of area; None if there are fewer different boxes than that.
    """
    boxes = boxes[(boxes >= _SMALLEST).any(1)]
    if len(boxes) > _MOST:
        boxes = boxes[rng.choice(len(boxes), _MOST, replace=False)]
    if len(np.unique(boxes, axis=0)) < count:
        return None
    spread = boxes.std(0)
    spread[spread == 0] = 1.0
    anchors = _evolved(boxes, _k_means(boxes / spread, count, rng) * spread, max_ratio, rng)
    return anchors[anchors.prod(1).argsort(kind="stable")]


def _likeness(boxes: Floats, anchors: Floats) -> Floats:
    """Of each box, the smaller ratio of sides to its best anchor: 1 is the same shape."""
    with np.errstate(divide="ignore", invalid="ignore"):  # sides of 0 are like nothing
        w, h = (box / anchor[:, None] for box, anchor in zip(boxes.T, anchors.T, strict=True))
        alike = np.minimum(np.minimum(w, 1 / w), np.minimum(h, 1 / h))
    return np.fmax.reduce(alike)


def _k_means(points: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Return the centres ``(count, 2)`` of the best of several runs of Lloyd's algorithm."""
    different = np.unique(points, axis=0)
    runs = [
        _lloyd(points, different[rng.choice(len(different), count, replace=False)])
        for _ in range(_RESTARTS)
    ]
    return min(runs, key=lambda run: run[1])[0]


def _lloyd(points: Floats, centres: Floats) -> tuple[Floats, float]:
    """Move centres to the means of their points until that gains nothing; also return the cost."""
    cost = np.inf
    for _ in range(_ROUNDS):
        axes = zip(points.T, centres.T, strict=True)
        x, y = (np.square(axis - own[:, None]) for axis, own in axes)
        nearest, before = (x + y).argmin(0), cost
        cost = float((x + y).min(0).mean())
        if before - cost <= 1e-5 * cost:
            break
        sizes = np.bincount(nearest, minlength=len(centres))
        sums = [np.bincount(nearest, axis, minlength=len(centres)) for axis in points.T]
        moved = np.stack(sums, 1) / np.maximum(sizes, 1)[:, None]
        centres = np.where(sizes[:, None] > 0, moved, centres)  # an empty one stays
    return centres, cost


def _evolved(boxes: Floats, anchors: Floats, max_ratio: float, rng: np.random.Generator) -> Floats:
    """Mutate the anchors again and again and keep what reaches the boxes better."""

    def fitness(candidates: Floats) -> float:
        best = _likeness(boxes, candidates)
        return float((best * (best > 1 / max_ratio)).mean())

    highest = fitness(anchors)
    for _ in range(_GENERATIONS):
        chosen = rng.random(anchors.shape) < 0.9
        step = 1 + chosen * rng.random() * rng.standard_normal(anchors.shape) * 0.1
        candidates = np.maximum(anchors * step.clip(0.3, 3.0), _SMALLEST)
        found = fitness(candidates)
        if found > highest:
            anchors, highest = candidates, found
    return anchors
