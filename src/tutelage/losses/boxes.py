"""Box arithmetic of the anchor losses, on centre-size boxes.

torchvision's IoU losses work on corners. There the sides of a very small prediction are differences
of nearly equal numbers: inexact from size logits of -8 down, zero at -10, where the aspect ratio is
0 / 0 and the loss NaN. Centre-size boxes avoid this.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_EPS = 1e-7


def decode_cell(logits: Tensor, anchor: Tensor) -> Tensor:
    """Turn the four box logits of a YOLOv5/YOLOv7 head into a box.

    With ``s = sigmoid(logits)`` the centre is ``2 s - 0.5`` cells from the corner of its own cell
    and the size is ``(2 s)^2 * anchor``: an object may lie half a cell outside its cell and be up
    to four times as large as its anchor.

    Args:
        logits: ``(..., 4)`` x, y, w, h.
        anchor: ``(..., 2)`` width and height, in any unit.

    Returns:
        ``(..., 4)`` cx, cy in cells relative to the own cell, w, h in the unit of the anchor.
    """
    centre, size = (2 * logits.sigmoid()).split(2, dim=-1)
    return torch.cat((centre - 0.5, size.square() * anchor), dim=-1)


def centre_size(xyxy: Tensor) -> Tensor:
    """Convert ``(..., 4)`` corners to centre-size boxes."""
    first, second = xyxy[..., :2], xyxy[..., 2:]
    return torch.cat(((first + second) / 2, second - first), dim=-1)


def corners(cxcywh: Tensor) -> Tensor:
    """Convert ``(..., 4)`` centre-size boxes to corners."""
    centre, size = cxcywh.split(2, dim=-1)
    half = size / 2
    return torch.cat((centre - half, centre + half), dim=-1)


def complete_iou(a: Tensor, b: Tensor) -> Tensor:
    """Complete IoU of box pairs (Zheng et al., AAAI 2020, arXiv:1911.08287).

    Args:
        a: ``(n, 4)`` cx, cy, w, h.
        b: ``(n, 4)`` in the same unit.

    Returns:
        ``(n,)`` in -1.5..1: IoU minus the normalised squared centre distance minus the aspect-ratio
        penalty. No gradient flows through the penalty's trade-off factor.
    """
    (ax, ay, aw, ah), (bx, by, bw, bh) = a.unbind(-1), b.unbind(-1)
    dx, dy = (ax - bx).abs(), (ay - by).abs()
    mean_w, mean_h = (aw + bw) / 2, (ah + bh) / 2
    # Of two intervals: the overlap is at most the shorter one, the hull at least the longer one.
    inter = torch.minimum(mean_w - dx, torch.minimum(aw, bw)).clamp(min=0)
    inter = inter * torch.minimum(mean_h - dy, torch.minimum(ah, bh)).clamp(min=0)
    hull_w = torch.maximum(mean_w + dx, torch.maximum(aw, bw))
    hull_h = torch.maximum(mean_h + dy, torch.maximum(ah, bh))
    iou = inter / (aw * ah + bw * bh - inter + _EPS)
    distance = (dx.square() + dy.square()) / (hull_w.square() + hull_h.square() + _EPS)
    angle = torch.atan(bw / (bh + _EPS)) - torch.atan(aw / (ah + _EPS))
    aspect = (4 / math.pi**2) * angle.square()
    with torch.no_grad():
        trade_off = aspect / (aspect - iou + (1 + _EPS))
    return iou - distance - trade_off * aspect


def at_least_float32(x: Tensor) -> Tensor:
    """Cast half precision to float32; leave float32 and float64 as they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
