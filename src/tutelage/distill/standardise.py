"""Channels with mean 0 and deviation 1 over a batch."""

from __future__ import annotations

import torch
from torch import Tensor

EPS = 1e-6
MIN_DEVIATION = 1e-2  # of the mean deviation; bounds the gradient of channels that hardly vary


def standardise(x: Tensor) -> Tensor:
    """Return ``(b, c, h, w)`` with mean 0 and unbiased deviation 1 per channel over the batch.

    A constant channel becomes 0. The gradient is proportional to 1 / deviation, at most that of a
    hundredth of the mean deviation: a dead channel would otherwise dominate all others.
    """
    centred = x - x.mean((0, 2, 3), keepdim=True)
    variance = centred.square().sum((0, 2, 3), keepdim=True) / max(x[:, 0].numel() - 1, 1)
    # The square root has an infinite gradient at 0, the variance of a constant channel.
    varies = variance > 0
    deviation = torch.where(varies, variance, 1.0).sqrt() * varies
    constant = deviation.detach()
    limit = ((constant + EPS) / (MIN_DEVIATION * constant.mean() + EPS)).clamp(max=1)
    result = centred / (deviation + EPS)
    return result.detach().lerp(result, limit.expand_as(result))  # the value, the gradient × limit
