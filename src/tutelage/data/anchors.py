"""Anchors that fit the boxes of a data set: best possible recall, and search for better ones.

An anchor reaches a box if width and height differ from its own by a factor below ``max_ratio``. A
box that no anchor reaches is no target of any prediction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tutelage.data.index import DatasetIndex

GOOD_RECALL = 0.98
"""Best possible recall from which YOLOv7 and YOLOv5 keep their anchors."""

BoxSizes = NDArray[np.float64]

_SAMPLE = 5_000  # boxes used by the search
_RESTARTS, _ROUNDS = 30, 50
_GENERATIONS = 1000
_JITTER = (0.9, 1.1)
_SMALLEST = 2.0  # px


def box_sizes(
    index: DatasetIndex, image_size: int, rng: np.random.Generator | None = None
) -> BoxSizes:
    """Return ``(n, 2)`` widths and heights of all boxes in pixels of the training canvas.

    Args:
        index: The images.
        image_size: Length of an image's longer side on the canvas.
        rng: Scale each image by a random factor within a tenth of 1, as augmentation does.
    """
    scale = image_size / index.sizes.max(1)
    if rng is not None:
        scale = scale * rng.uniform(*_JITTER, len(scale))
    boxes = index.boxes.astype(np.float64)
    return (boxes[:, 2:] - boxes[:, :2]) * np.repeat(scale, index.counts)[:, None]


def best_possible_recall(boxes: BoxSizes, anchors: BoxSizes, max_ratio: float) -> float:
    """Return the share of boxes that some anchor reaches (BPR in YOLOv7).

    Args:
        boxes: ``(n, 2)`` widths and heights.
        anchors: ``(..., 2)`` in the same unit.
        max_ratio: Limit of the ratio test, above 1.

    Returns:
        The share in 0..1; 1 of no boxes.
    """
    if not len(boxes):
        return 1.0
    return float((_shape_similarity(boxes, anchors.reshape(-1, 2)) > 1 / max_ratio).mean())


def search_anchors(
    boxes: BoxSizes, count: int, max_ratio: float, rng: np.random.Generator
) -> BoxSizes | None:
    """Find anchors by k-means on the box sizes, then by evolution.

    Args:
        boxes: ``(n, 2)`` widths and heights in pixels.
        count: How many anchors.
        max_ratio: Limit of the ratio test, above 1.
        rng: The random generator.

    Returns:
        ``(count, 2)`` by ascending area; None if there are fewer than ``count`` different boxes.
    """
    boxes = boxes[(boxes >= _SMALLEST).any(1)]
    if len(boxes) > _SAMPLE:
        boxes = boxes[rng.choice(len(boxes), _SAMPLE, replace=False)]
    if len(np.unique(boxes, axis=0)) < count:
        return None
    spread = boxes.std(0)
    spread[spread == 0] = 1.0
    anchors = _evolve(boxes, _k_means(boxes / spread, count, rng) * spread, max_ratio, rng)
    return anchors[anchors.prod(1).argsort(kind="stable")]


def _shape_similarity(boxes: BoxSizes, anchors: BoxSizes) -> BoxSizes:
    """Return ``(n,)`` each box's smaller side ratio to its best anchor, in 0..1; 1: equal."""
    with np.errstate(divide="ignore", invalid="ignore"):  # sides of 0
        w, h = (box / anchor[:, None] for box, anchor in zip(boxes.T, anchors.T, strict=True))
        alike = np.minimum(np.minimum(w, 1 / w), np.minimum(h, 1 / h))
    return np.fmax.reduce(alike)


def _k_means(points: BoxSizes, count: int, rng: np.random.Generator) -> BoxSizes:
    """Return the centres ``(count, 2)`` of the best of several runs of Lloyd's algorithm."""
    different = np.unique(points, axis=0)
    runs = [
        _lloyd(points, different[rng.choice(len(different), count, replace=False)])
        for _ in range(_RESTARTS)
    ]
    return min(runs, key=lambda run: run[1])[0]


def _lloyd(points: BoxSizes, centres: BoxSizes) -> tuple[BoxSizes, float]:
    """Move centres to the means of their points until convergence; return them and the cost."""
    cost = np.inf
    for _ in range(_ROUNDS):
        pairs = zip(points.T, centres.T, strict=True)
        x, y = (np.square(axis - centre[:, None]) for axis, centre in pairs)
        nearest, before = (x + y).argmin(0), cost
        cost = float((x + y).min(0).mean())
        if before - cost <= 1e-5 * cost:
            break
        sizes = np.bincount(nearest, minlength=len(centres))
        sums = [np.bincount(nearest, axis, minlength=len(centres)) for axis in points.T]
        moved = np.stack(sums, 1) / np.maximum(sizes, 1)[:, None]
        centres = np.where(sizes[:, None] > 0, moved, centres)  # one without points stays
    return centres, cost


def _evolve(
    boxes: BoxSizes, anchors: BoxSizes, max_ratio: float, rng: np.random.Generator
) -> BoxSizes:
    """Mutate the anchors repeatedly and keep mutations with a higher fitness."""

    def fitness(candidates: BoxSizes) -> float:
        best = _shape_similarity(boxes, candidates)
        return float((best * (best > 1 / max_ratio)).mean())

    highest = fitness(anchors)
    for _ in range(_GENERATIONS):
        chosen = rng.random(anchors.shape) < 0.9
        step = 1 + chosen * rng.random() * rng.standard_normal(anchors.shape) * 0.1
        candidates = np.maximum(anchors * step.clip(0.3, 3.0), _SMALLEST)
        value = fitness(candidates)
        if value > highest:
            anchors, highest = candidates, value
    return anchors
