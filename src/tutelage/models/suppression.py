"""Non-maximum suppression of boxes by group (class, image or both)."""

from __future__ import annotations

import torch
from torch import Tensor

LARGEST = 2.0**22  # pixels: float32 is exact to a quarter of one below


def suppress_overlaps(xyxy: Tensor, score: Tensor, group: Tensor, iou: float) -> Tensor:
    """Return the indices of the boxes that NMS keeps, best score first.

    Boxes may lie anywhere, also outside the canvas; those that are not finite are dropped.

    Args:
        xyxy: ``(n, 4)`` corners.
        score: ``(n,)``.
        group: ``(n,)`` int64; only boxes of one group suppress each other.
        iou: A box that overlaps a better one of its group by more than this, in float32, is
            dropped.
    """
    from torchvision.ops import batched_nms, nms  # importing it imports the compiler of torch

    finite = xyxy.isfinite().all(1).nonzero()[:, 0]
    if not len(finite):
        return finite
    xyxy = xyxy[finite]
    # In float64, 0.1 is less than the overlap 0.1 of two boxes in float32: torchvision would drop
    # at some limits what ONNX Runtime keeps.
    limit = torch.tensor(iou, dtype=torch.float32).item()
    score, group = score[finite], group[finite]
    # batched_nms shifts each group to a place of its own, which is correct for coordinates >= 0,
    # and exact unless one box is so large (sizes may be exponentials) that the places are far away.
    places = xyxy - xyxy.amin()
    if places.amax() * (group.amax() + 1) <= LARGEST:
        return finite[batched_nms(places, score, group, limit)]
    members = [(group == number).nonzero()[:, 0] for number in group.unique()]
    kept = torch.cat([own[nms(xyxy[own], score[own], limit)] for own in members])
    return finite[kept[score[kept].argsort(descending=True, stable=True)]]
