"""IoU losses, box by box."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from tutelage.losses.boxes import centre_size, complete_iou

Overlap = Literal["iou", "log_iou", "giou", "ciou"]
_EPS = 1e-7
_MIN_IOU = 1e-6  # of disjoint boxes, as published, so that the logarithm is finite


def overlap_loss(a: Tensor, b: Tensor, overlap: Overlap) -> Tensor:
    """Return one minus the overlap of each pair of boxes, or minus its logarithm.

    Finite for boxes without area; without the boolean masks of torchvision's losses, which
    synchronise with the GPU.

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
        return -iou.clamp(min=_MIN_IOU).log()
    if overlap == "iou":
        return 1 - iou.clamp(min=_MIN_IOU)
    hull = _area(torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:]))
    return 1 - iou + (hull - union) / hull.clamp(min=_EPS)


def _area(low: Tensor, high: Tensor) -> Tensor:
    width, height = (high - low).clamp(min=0).unbind(-1)
    return width * height
