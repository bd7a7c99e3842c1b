"""Which predictions answer for which box: anchor-ratio candidates, and SimOTA among them.

Everything here is index arithmetic over the whole batch at once, without gradients. The order of
matches is part of the contract (level, then cell offset, then anchor, then box): where one cell
answers for several boxes, the last match in this order sets its objectness target.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tutelage.losses.pick import Place
from tutelage.structures import Targets

POOL = 10
"""A box gets at most this many predictions from SimOTA."""

_IOU_WEIGHT = 3.0
_IOU_FLOOR = 1e-8
_SCORE_FLOOR = 1e-7
_PAIRS = 1 << 20


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
) -> Matches:
    """Pair every box with the anchors of a similar shape, in its own cell and the two nearest cells.

    An anchor fits if neither its width nor its height differs from the box's by ``max_ratio`` or more.
    The neighbours are those left or right, and above or below, that the centre is nearer to, if they
    exist. A centre exactly on a grid line is as near to both sides; the one on the far side truncates
    to the own cell, which is then listed again. YOLOv5 and YOLOv7 do so too, and it stays.

    Args:
        cxcywh: ``(t, 4)`` boxes in pixels of the canvas.
        image: ``(t,)`` int64, their images.
        anchors: ``(nl, na, 2)`` widths and heights in pixels.
        strides: Pixels per cell, per level.
        grids: ``(ny, nx)`` per level.
        max_ratio: Limit of the ratio test, above 1.

    Returns:
        The candidates, about three per box and fitting anchor.
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
                    (x % 1 < 0.5) & (x > 1),
                    (y % 1 < 0.5) & (y > 1),
                    ((nx - x) % 1 < 0.5) & (nx - x > 1),
                    ((ny - y) % 1 < 0.5) & (ny - y > 1),
                )
            )
        )
        columns = torch.stack((x, x - 0.5, x, x + 0.5, x)).long().clamp_(0, nx - 1)
        rows = torch.stack((y, y, y - 0.5, y, y + 0.5)).long().clamp_(0, ny - 1)
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
    """Keep the candidates that predict a box best (SimOTA: Ge et al., 2021, arXiv:2107.08430).

    Within an image every box is compared with every candidate, whichever box it stems from. A box takes
    as many of the cheapest candidates as the sum of its ``pool`` best IoUs says, at least one; a
    candidate wanted by several boxes goes to the box of the image to which it is cheapest. The cost is
    the binary cross-entropy of the class scores against the box's class, minus 3 ln(IoU + 1e-8). Ties
    go to the earlier candidate and the earlier box.

    The cross-entropy of a box of class g is sum_c -ln(1 - q_c) + ln(1 - q_g) - ln q_g, so that no tensor
    of boxes x candidates x classes is needed.

    Args:
        candidates: ``n`` of them.
        xyxy: ``(n, 4)`` their predicted boxes in pixels.
        scores: ``(n, classes)`` their joint scores, the root of class times objectness probability.
        targets: The ``t`` boxes, in pixels.
        images: Number of images in the batch.
        pool: Most candidates per box.
        max_pairs: Boxes are taken in turns so that no tensor holds more pairs than this (one box at a
            time needs the candidates of one image, at least). Has no influence on the result.

    Returns:
        The kept candidates in their old order, each with the box that it was given to.
    """
    number, boxes, device = len(scores), len(targets.label), scores.device
    if not number:
        return candidates
    counts = candidates.image.new_zeros(images)
    counts.scatter_add_(0, candidates.image, torch.ones_like(candidates.image))
    width = int(counts.amax())
    order = candidates.image.argsort(stable=True)
    slot = candidates.image * width
    slot[order] += torch.arange(number, device=device) - (counts.cumsum(0) - counts)[candidates.image[order]]

    scores = scores.clamp(_SCORE_FLOOR, 1 - _SCORE_FLOOR)
    absent = torch.log1p(-scores)
    swap = (absent - scores.log()).flatten()                     # what the box's own class changes
    # One line of `width` slots per image. Empty slots: a box without area, at infinite cost.
    planes = scores.new_zeros(6, images * width)
    planes[4] = torch.inf
    planes[:4, slot] = xyxy.T
    planes[4, slot] = -absent.sum(1)
    planes[5] = (planes[2] - planes[0]) * (planes[3] - planes[1])
    planes = planes.view(6, images, width)
    members = slot.new_zeros(images * width)
    members[slot] = torch.arange(number, device=device) * scores.shape[1]
    members = members.view(images, width)

    claims = slot.new_zeros(images, width)
    claimant = slot.new_zeros(images, width)                     # summed: valid where there is one claim
    lowest = scores.new_full((images, width), torch.inf)
    cheapest = slot.new_zeros(images, width)
    box_index = torch.arange(boxes, device=device)
    for turn in box_index.split(max(1, max_pairs // width)):
        image, label, box = (field[turn] for field in targets)
        x1, y1, x2, y2, cost, area = planes[:, image].unbind(0)
        left, top, right, bottom = box.to(scores.dtype)[..., None].unbind(1)
        inter = (torch.minimum(x2, right) - torch.maximum(x1, left)).clamp_(min=0)
        inter *= (torch.minimum(y2, bottom) - torch.maximum(y1, top)).clamp_(min=0)
        union = (area + (right - left) * (bottom - top)).sub_(inter).clamp_(min=_IOU_FLOOR)
        iou = inter.div_(union)
        best = iou.topk(min(pool, width)).values
        wanted = best.sum(1, keepdim=True).long().clamp_(1, best.shape[1])
        cost = cost + swap[members[image] + label[:, None]]
        cost -= iou.add_(_IOU_FLOOR).log_().mul_(_IOU_WEIGHT)

        limit = cost.topk(best.shape[1], largest=False).values.gather(1, wanted - 1)
        claim, tied = cost < limit, cost == limit
        claim |= tied & (tied.cumsum(1) <= wanted - claim.sum(1, keepdim=True))
        claim &= cost < torch.inf
        claims.index_add_(0, image, claim.long())
        claimant.index_add_(0, image, claim * turn[:, None])

        where = image[:, None].expand_as(cost)
        low = torch.full_like(lowest, torch.inf).scatter_reduce_(0, where, cost, "amin")
        first = turn[:, None].where(cost == low[image], boxes)
        first = torch.full_like(cheapest, boxes).scatter_reduce_(0, where, first, "amin")
        cheapest = torch.where(low < lowest, first, cheapest)
        lowest = torch.minimum(low, lowest)

    owner = torch.where(claims == 1, claimant, cheapest).flatten()[slot]
    kept = claims.flatten()[slot] > 0
    per_level = torch.stack([part.sum() for part in kept.split(candidates.counts)]).tolist()
    fields = (field[kept] for field in candidates[:5])
    return Matches(*fields, owner[kept], tuple(per_level))
