"""How far two boxes are from covering each other, pair by pair."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from tutelage.losses.boxes import centre_size, complete_iou

Overlap = Literal["iou", "log_iou", "giou", "ciou"]
_EPS = 1e-7
_LEAST = 1e-6  # IoU of disjoint boxes, as published: its logarithm is finite


def overlap_loss(a: Tensor, b: Tensor, overlap: Overlap) -> Tensor:
    """Return one minus the overlap of every pair of boxes, or minus its logarithm.

    Finite for boxes without area, and without the boolean masks of torchvision's losses, which
    make the host wait for the GPU.

    Args:
        a: ``(..., 4)`` corners.
        b: ``(..., 4)`` corners.
        overlap: ``iou`` and ``log_iou`` (Yu et al., ACM MM 2016, arXiv:1608.01471) have no
            gradient where boxes are disjoint; generalised (Rezatofighi et al., CVPR 2019,
            arXiv:1902.09630) and complete IoU (Zheng et al., AAAI 2020, arXiv:1911.08287) have.

    Returns:
        ``(...)``, 0 for equal boxes.
    """
    if overlap == "ciou":
        return 1 - complete_iou(centre_size(a), centre_size(b))
    inter = _area(torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:]))
    union = _area(a[..., :2], a[..., 2:]) + _area(b[..., :2], b[..., 2:]) - inter
    iou = inter / union.clamp(min=_EPS)
    if overlap == "log_iou":
        return -iou.clamp(min=_LEAST).log()
    if overlap == "iou":
        return 1 - iou.clamp(min=_LEAST)
    hull = _area(torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:]))
    return 1 - iou + (hull - union) / hull.clamp(min=_EPS)


def _area(low: Tensor, high: Tensor) -> Tensor:
    width, height = (high - low).clamp(min=0).unbind(-1)
    return width * height
