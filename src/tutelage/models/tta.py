"""Test-time augmentation: three views of the images, their candidates joined."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

VIEWS = ((1.0, False), (0.83, True), (0.67, False))
"""Scale, and whether the view is mirrored left to right."""

_GREY = 0.447


def augmented(
    predict: Callable[[Tensor], Tensor], images: Tensor, strides: Sequence[int], *, trim: bool
) -> Tensor:
    """Predict on three views and map all boxes back to ``images``.

    Args:
        predict: Maps ``(b, 3, h, w)`` to rows ``(b, n, 5 + c)``: cx, cy, w, h in pixels, then
            probabilities; rows go from the finest level to the coarsest.
        images: ``(b, 3, h, w)``.
        strides: Pixels per cell of each level.
        trim: Leave out the coarsest level of the largest view and the finest of the smallest, as
            YOLOv5 does.

    Returns:
        The rows of all views, in pixels of ``images``.
    """
    found: list[Tensor] = []
    for scale, mirrored in VIEWS:
        view = _scaled(images.flip(-1) if mirrored else images, scale, max(strides))
        rows = predict(view)
        box = rows[..., :4] / scale
        if mirrored:
            box = torch.cat((images.shape[-1] - box[..., :1], box[..., 1:]), -1)
        found.append(torch.cat((box, rows[..., 4:]), -1))
    if trim:
        levels = len(strides)
        unit = 4**levels // 3  # 1 + 4 + 16 + ...: rows of all levels per row of the coarsest
        found[0] = found[0][:, : -(found[0].shape[1] // unit)]
        found[-1] = found[-1][:, found[-1].shape[1] // unit * 4 ** (levels - 1) :]
    return torch.cat(found, 1)


def _scaled(images: Tensor, scale: float, stride: int) -> Tensor:
    if scale == 1:
        return images
    h, w = images.shape[-2:]
    size = int(h * scale), int(w * scale)
    small = F.interpolate(images, size=size, mode="bilinear", align_corners=False)
    height, width = (math.ceil(n * scale / stride) * stride for n in (h, w))
    return F.pad(small, (0, width - size[1], 0, height - size[0]), value=_GREY)
