"""Assign predictions to boxes by how well they agree in class and place at once.

Task-aligned learning: Feng et al., *TOOD*, ICCV 2021, arXiv:2108.07755, in the form of YOLOv9 (Wang
et al., arXiv:2402.13616). Computed over the whole batch, without gradients, for the pairs of box
and cell that can match.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tutelage.losses.boxes import centre_size, complete_iou
from tutelage.losses.side_distances import cell_centres
from tutelage.structures import Targets

TOP = 10
"""A box is assigned at most this many predictions."""

MARGIN = 1.01
"""A distance of r bins is at most r - MARGIN cells: it lies between two of them."""

_IOU_POWER, _SCORE_POWER = 6.0, 0.5
_EPS = 1e-9
_PAIRS = 1 << 20


class Assignment(NamedTuple):
    """Predictions with the box that each is assigned to; a prediction occurs once at most.

    Attributes:
        image: ``(m,)`` int64.
        cell: ``(m,)`` int64, the prediction among those of the image.
        target: ``(m,)`` int64, the box, as a row of the batch's :class:`Targets`.
        quality: ``(m,)`` the score that the class of the box should get there, in 0..1.
    """

    image: Tensor
    cell: Tensor
    target: Tensor
    quality: Tensor


@torch.no_grad()
def task_aligned(
    xyxy: Tensor,
    logits: Tensor,
    targets: Targets,
    *,
    grids: Sequence[tuple[int, int]],
    strides: Sequence[int],
    bins: int,
    top: int = TOP,
) -> Assignment:
    """Assign each box the predictions that agree best with it.

    The alignment of a prediction with a box is CIoU^6 score^(1/2), where the score is that of the
    box's class. A box takes the ``top`` predictions of positive alignment whose cell centre lies in
    it, not too far from its sides for the bins. A box without any takes the best of its image,
    wherever that is. A prediction taken by several boxes goes to the one of largest CIoU. The
    quality of a match is its alignment relative to the best of the box, times the best CIoU of the
    box. Ties go to the earlier prediction and the earlier box.

    Args:
        xyxy: ``(b, n, 4)`` predicted boxes in pixels, ordered by level, row, column.
        logits: ``(b, n, c)`` class logits.
        targets: The ``t`` boxes, in pixels.
        grids: Rows and columns of each level.
        strides: Pixels per cell of each level.
        bins: Number of bins of a distance.
        top: Most predictions per box.

    Returns:
        The matches, in the order of images and cells.
    """
    images, cells = xyxy.shape[:2]
    boxes = targets.xyxy.to(xyxy)
    centres, pixels = cell_centres(grids, strides, xyxy)
    box, cell = _within_reach(centres * pixels, pixels[:, 0], boxes, bins - MARGIN).unbind(1)
    iou, alignment = _agreement(xyxy, logits, targets, boxes, box, cell)
    taken = _best_of_each(alignment, box, len(boxes), top)
    box, cell, iou, alignment = (x[taken] for x in (box, cell, iou, alignment))
    without = torch.bincount(box, minlength=len(boxes)) == 0
    more = _best_anywhere(xyxy, logits, targets, boxes, without.nonzero()[:, 0])
    box, cell, iou, alignment = (
        torch.cat(pair) for pair in zip((box, cell, iou, alignment), more, strict=True)
    )

    place = targets.image[box] * cells + cell
    best = iou.new_full((images * cells,), -1).scatter_reduce_(0, place, iou, "amax")
    owner = torch.where(iou == best[place], box, len(boxes))
    owner = place.new_full((images * cells,), len(boxes)).scatter_reduce_(0, place, owner, "amin")
    kept = owner[place] == box
    box, iou, alignment, place = (x[kept] for x in (box, iou, alignment, place))
    top_iou, top_alignment = (
        iou.new_zeros(len(boxes)).scatter_reduce_(0, box, x, "amax") for x in (iou, alignment)
    )
    quality = alignment / (top_alignment + _EPS)[box] * top_iou[box]
    order = place.argsort()
    place = place[order]
    return Assignment(place // cells, place % cells, box[order], quality[order])


def _within_reach(centres: Tensor, stride: Tensor, boxes: Tensor, limit: float) -> Tensor:
    """Return pairs ``(p, 2)`` of box and cell whose centre lies in the box, ordered by box.

    No side may be farther from it than ``limit`` cells.
    """
    found: list[Tensor] = []
    step = max(1, _PAIRS // max(len(centres), 1))
    x, y = centres.T
    for start in range(0, len(boxes), step):
        left, top, right, bottom = boxes[start : start + step, :, None].unbind(1)
        sides = (x - left, y - top, right - x, bottom - y)
        nearest = torch.minimum(torch.minimum(sides[0], sides[1]), torch.minimum(*sides[2:]))
        farthest = torch.maximum(torch.maximum(sides[0], sides[1]), torch.maximum(*sides[2:]))
        pairs = ((nearest >= 0) & (farthest / stride <= limit)).nonzero()
        pairs[:, 0] += start
        found.append(pairs)
    return torch.cat(found) if found else torch.empty(0, 2, dtype=torch.int64, device=boxes.device)


def _agreement(
    xyxy: Tensor, logits: Tensor, targets: Targets, boxes: Tensor, box: Tensor, cell: Tensor
) -> tuple[Tensor, Tensor]:
    """Return CIoU (at least 0) and alignment of pairs of box and cell."""
    image, label = targets.image[box], targets.label[box]
    iou = complete_iou(centre_size(boxes[box]), centre_size(xyxy[image, cell])).clamp(0, 1)
    score = logits[image, cell, label].sigmoid()
    return iou, iou**_IOU_POWER * score**_SCORE_POWER


def _best_of_each(alignment: Tensor, box: Tensor, boxes: int, top: int) -> Tensor:
    """Return the positions of the ``top`` best pairs of each box; ``box`` ascends."""
    order = alignment.argsort(descending=True, stable=True)
    order = order[box[order].argsort(stable=True)]
    counts = torch.bincount(box, minlength=boxes)
    rank = torch.arange(len(box), device=box.device) - (counts.cumsum(0) - counts)[box]
    return order[(rank < top) & (alignment[order] > 0)]


def _best_anywhere(
    xyxy: Tensor, logits: Tensor, targets: Targets, boxes: Tensor, rows: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return box, cell, CIoU and alignment of the best prediction of some boxes, if positive."""
    cells = xyxy.shape[1]
    found = [
        _best_of_rows(xyxy, logits, targets, boxes, part)
        for part in rows.split(max(1, _PAIRS // max(cells, 1)))
    ]
    box, cell, iou, alignment = (torch.cat(parts) for parts in zip(*found, strict=True))
    positive = alignment > 0
    return box[positive], cell[positive], iou[positive], alignment[positive]


def _best_of_rows(
    xyxy: Tensor, logits: Tensor, targets: Targets, boxes: Tensor, rows: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    cells = xyxy.shape[1]
    box = rows.repeat_interleave(cells)
    cell = torch.arange(cells, device=rows.device).repeat(len(rows))
    iou, alignment = _agreement(xyxy, logits, targets, boxes, box, cell)
    best, cell = alignment.view(len(rows), cells).max(1)
    return rows, cell, iou.view(len(rows), cells).gather(1, cell[:, None])[:, 0], best
