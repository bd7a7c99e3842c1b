"""Assign predictions to boxes: candidates by anchor ratio, and SimOTA among them.

Everything here is index arithmetic over the whole batch at once, without gradients. The order of
matches is part of the contract (level, then cell offset, then anchor, then box): where one
prediction is assigned to several boxes, the last match in this order sets its objectness target.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tutelage.losses.gather import Place
from tutelage.structures import Targets

POOL = 10
"""SimOTA assigns at most this many predictions to a box."""

NEAREST, AROUND = 0.5, 1.0
"""Reach in cells: the two nearest neighbours of the own cell, or all four."""

_IOU_WEIGHT = 3.0
_IOU_FLOOR = 1e-8
_SCORE_FLOOR = 1e-7
_PAIRS = 1 << 20
_OUT_OF_REACH = 1e6


class Matches(NamedTuple):
    """Predictions paired with boxes, ordered by level. A prediction may occur more than once.

    Attributes:
        level: ``(n,)`` int64, ascending.
        image: ``(n,)`` int64.
        anchor: ``(n,)`` int64, index among the anchors of the level.
        row: ``(n,)`` int64, cell of the prediction.
        column: ``(n,)`` int64.
        target: ``(n,)`` int64, the box, as a row of the batch's :class:`Targets`.
        counts: Number of matches per level.
    """

    level: Tensor
    image: Tensor
    anchor: Tensor
    row: Tensor
    column: Tensor
    target: Tensor
    counts: tuple[int, ...]

    def places(self) -> list[Place]:
        """Return image, anchor, row and column of the matched predictions, per level."""
        image, anchor, row, column = (field.split(self.counts) for field in self[1:5])
        return list(zip(image, anchor, row, column, strict=True))


@torch.no_grad()
def anchor_candidates(
    cxcywh: Tensor,
    image: Tensor,
    *,
    anchors: Tensor,
    strides: Sequence[int],
    grids: Sequence[tuple[int, int]],
    max_ratio: float,
    reach: float = NEAREST,
) -> Matches:
    """Pair every box with the anchors of its shape, in its own cell and the nearest cells.

    An anchor fits if neither its width nor its height differs from the box's by ``max_ratio`` or
    more. The neighbours are the nearer of left and right and the nearer of above and below, if they
    exist; with ``reach`` 1 all four. A centre exactly on a grid line is as near to both sides; the
    far one truncates to the own cell, which is then listed again. YOLOv5 and YOLOv7 do so too, and
    it counts in the means.

    Args:
        cxcywh: ``(t, 4)`` boxes in pixels of the canvas.
        image: ``(t,)`` int64, their images.
        anchors: ``(nl, na, 2)`` widths and heights in pixels.
        strides: Pixels per cell, per level.
        grids: ``(ny, nx)`` per level.
        max_ratio: Limit of the ratio test, above 1.
        reach: ``NEAREST`` or ``AROUND``.

    Returns:
        The candidates, about three (or five) per box and fitting anchor.
    """
    fits, near, cells = [], [], []
    for anchor, stride, (ny, nx) in zip(anchors, strides, grids, strict=True):
        ratio = cxcywh[:, 2:] / anchor[:, None]
        fits.append(torch.maximum(ratio, 1 / ratio).amax(-1) < max_ratio)
        x, y = (cxcywh[:, :2] / stride).unbind(-1)
        near.append(
            torch.stack(
                (
                    torch.ones_like(x, dtype=torch.bool),
                    (x % 1 < reach) & (x > 1),
                    (y % 1 < reach) & (y > 1),
                    ((nx - x) % 1 < reach) & (nx - x > 1),
                    ((ny - y) % 1 < reach) & (ny - y > 1),
                )
            )
        )
        columns = torch.stack((x, x - reach, x, x + reach, x)).long().clamp_(0, nx - 1)
        rows = torch.stack((y, y, y - reach, y, y + reach)).long().clamp_(0, ny - 1)
        cells.append(torch.stack((rows, columns)))
    paired = torch.stack(near)[:, :, None] & torch.stack(fits)[:, None]
    counts = tuple(paired.flatten(1).sum(1).tolist())
    level, offset, anchor, target = paired.nonzero().unbind(1)
    row, column = torch.stack(cells)[level, :, offset, target].unbind(1)
    return Matches(level, image[target], anchor, row, column, target, counts)


@torch.no_grad()
def simota(
    candidates: Matches,
    xyxy: Tensor,
    scores: Tensor,
    targets: Targets,
    *,
    images: int,
    pool: int = POOL,
    max_pairs: int = _PAIRS,
) -> Matches:
    """Select the best candidates of every box, as :func:`select_candidates` does.

    Args:
        candidates: ``n`` of them.
        xyxy: ``(n, 4)`` their predicted boxes in pixels.
        scores: ``(n, classes)`` their joint scores, the root of class times objectness probability.
        targets: The ``t`` boxes, in pixels.
        images: Number of images in the batch.
        pool: Most candidates per box.
        max_pairs: As of :func:`select_candidates`.

    Returns:
        The kept candidates in their old order, each with its assigned box.
    """
    if not len(scores):
        return candidates
    scores = scores.clamp(_SCORE_FLOOR, 1 - _SCORE_FLOOR)
    assigned = select_candidates(
        candidates.image,
        xyxy,
        scores.log(),
        torch.log1p(-scores),
        targets,
        images=images,
        pool=pool,
        max_pairs=max_pairs,
    )
    matched = assigned >= 0
    counts = torch.stack([part.sum() for part in matched.split(candidates.counts)]).tolist()
    kept = matched.nonzero()[:, 0]
    level, image, anchor, row, column = (field[kept] for field in candidates[:5])
    return Matches(level, image, anchor, row, column, assigned[kept], tuple(counts))


@torch.no_grad()
def select_candidates(
    image: Tensor,
    xyxy: Tensor,
    present: Tensor,
    absent: Tensor,
    targets: Targets,
    *,
    images: int,
    pool: int = POOL,
    max_pairs: int = _PAIRS,
    reach: Tensor | None = None,
) -> Tensor:
    """Select the best candidates of every box (SimOTA: Ge et al., 2021, arXiv:2107.08430).

    Within an image every box is compared with every candidate, also those of other boxes. A box
    selects its k candidates of lowest cost; k is the sum of its ``pool`` best IoUs, at least 1. A
    candidate selected by several boxes is assigned to the box of the image with the lowest cost.
    The cost is the binary cross-entropy of the scores q against the box's class, minus
    3 ln(IoU + 1e-8). Ties go to the earlier candidate and the earlier box.

    The cross-entropy for class g is sum_c -ln(1 - q_c) + ln(1 - q_g) - ln q_g, so that no tensor of
    boxes x candidates x classes is needed.

    Args:
        image: ``(n,)`` int64, the images of the candidates.
        xyxy: ``(n, 4)`` their predicted boxes in pixels.
        present: ``(n, classes)`` ln q.
        absent: ``(n, classes)`` ln(1 - q).
        targets: The ``t`` boxes, in pixels.
        images: Number of images in the batch.
        pool: Most candidates per box.
        max_pairs: Boxes are processed in chunks of at most this many pairs of box and candidate
            (at least one box), which bounds the memory. The result does not depend on it.
        reach: ``(n, 3)`` x and y of the places of the candidates and their reach, in pixels. A box
            whose centre is not within reach along both axes costs 1,000,000 more. None: all are.

    Returns:
        ``(n,)`` int64, the box that each candidate is assigned to, or -1.
    """
    number, boxes = len(present), len(targets.label)
    if not number:
        return image
    slot, width = _slots(image, images)

    own_class = (absent - present).flatten()
    # A row of slots per image. Empty slots hold a box without area, at infinite cost.
    planes = present.new_zeros(6 if reach is None else 9, images * width)
    planes[4] = torch.inf
    planes[:4, slot] = xyxy.T
    planes[4, slot] = -absent.sum(1)
    planes[5] = (planes[2] - planes[0]) * (planes[3] - planes[1])
    if reach is not None:
        planes[6:, slot] = reach.T
    planes = planes.view(-1, images, width)
    first_class = slot.new_zeros(images * width)
    first_class[slot] = torch.arange(0, own_class.numel(), present.shape[1], device=slot.device)
    first_class = first_class.view(images, width)

    selection_counts = slot.new_zeros(images, width)
    selecting_box = torch.zeros_like(selection_counts)  # a sum: valid where the count is 1
    cheapest = torch.zeros_like(selection_counts)
    lowest = present.new_full((images, width), torch.inf)
    for chunk in torch.arange(boxes, device=slot.device).split(max(1, max_pairs // width)):
        image, label, box = (field[chunk] for field in targets)
        x1, y1, x2, y2, cost, area = planes[:6, image].unbind(0)
        left, top, right, bottom = box.to(present.dtype)[..., None].unbind(1)
        inter = (torch.minimum(x2, right) - torch.maximum(x1, left)).clamp_(min=0)
        inter *= (torch.minimum(y2, bottom) - torch.maximum(y1, top)).clamp_(min=0)
        union = (area + (right - left) * (bottom - top)).sub_(inter).clamp_(min=_IOU_FLOOR)
        iou = inter.div_(union)
        best = iou.topk(min(pool, width)).values
        dynamic_k = best.sum(1, keepdim=True).long().clamp_(1, best.shape[1])
        cost = cost + own_class[first_class[image] + label[:, None]]
        cost -= iou.add_(_IOU_FLOOR).log_().mul_(_IOU_WEIGHT)
        if reach is not None:
            x, y, limit = planes[6:, image].unbind(0)
            far = torch.maximum((x - (left + right) / 2).abs(), (y - (top + bottom) / 2).abs())
            cost += (far >= limit) * _OUT_OF_REACH

        selected = _smallest(cost, dynamic_k, best.shape[1])
        selection_counts.index_add_(0, image, selected.long())
        selecting_box.index_add_(0, image, selected * chunk[:, None])

        row_of_image = image[:, None].expand_as(cost)
        low = torch.full_like(lowest, torch.inf).scatter_reduce_(0, row_of_image, cost, "amin")
        first = chunk[:, None].where(cost == low[image], boxes)
        first = torch.full_like(cheapest, boxes).scatter_reduce_(0, row_of_image, first, "amin")
        cheapest = torch.where(low < lowest, first, cheapest)
        lowest = torch.minimum(low, lowest)

    assigned = torch.where(selection_counts == 1, selecting_box, cheapest)
    return assigned.where(selection_counts > 0, -1).flatten()[slot]


def _slots(image: Tensor, images: int) -> tuple[Tensor, int]:
    """Return the slot ``(n,)`` of every candidate, given its ``image``, and the width.

    A slot is image * width + position among the candidates of the image; the width is the largest
    number of candidates of one image.
    """
    counts = image.new_zeros(images).scatter_add_(0, image, torch.ones_like(image))
    width = int(counts.amax())
    order = image.argsort(stable=True)
    position = torch.empty_like(image)
    position[order] = torch.arange(len(image), device=image.device)
    return image * width + position - (counts.cumsum(0) - counts)[image], width


def _smallest(cost: Tensor, dynamic_k: Tensor, pool: int) -> Tensor:
    """Mark the k smallest values of every row ``(r, w)``; ties go to the first, unlike ``topk``.

    ``dynamic_k`` is ``(r, 1)``, the k of every row, 1 to ``pool``.
    """
    limit = cost.topk(pool, largest=False).values.gather(1, dynamic_k - 1)
    below, tied = cost < limit, cost == limit
    return below | (tied & (tied.cumsum(1) <= dynamic_k - below.sum(1, keepdim=True)))
