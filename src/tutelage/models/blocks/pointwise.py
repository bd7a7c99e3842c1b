"""1 x 1 convolutions, as matrix products where that trains faster."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Equal ``F.conv2d(x, weight, bias)``, up to rounding.

    In memory a channels-last map is a matrix with a row per pixel, so that a 1 x 1 convolution is a
    matrix product. On the CPU it is computed as one where the weight is trained: the backward pass
    of PyTorch's convolution is slower, most of all on one thread with fewer than 16 images.

    Args:
        x: ``(b, c1, h, w)``.
        weight: ``(c2, c1, 1, 1)``.
        bias: ``(c2,)`` or None.

    Returns:
        ``(b, c2, h, w)``.
    """
    rows = x.permute(0, 2, 3, 1)
    trained = torch.is_grad_enabled() and weight.requires_grad
    if trained and x.device.type == "cpu" and rows.is_contiguous():
        return F.linear(rows, weight.flatten(1), bias).permute(0, 3, 1, 2)
    return F.conv2d(x, weight, bias)


class PointwiseConv2d(nn.Conv2d):
    """``nn.Conv2d`` with a 1 x 1 kernel, stride 1, no padding and one group."""

    def forward(self, input: Tensor) -> Tensor:
        """``(b, c1, h, w)`` to ``(b, c2, h, w)``."""
        return pointwise(input, self.weight, self.bias)
