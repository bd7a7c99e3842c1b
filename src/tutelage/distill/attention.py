"""Spatial and channel attention of a feature map."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def attention(x: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return spatial and channel attention: the softmax of mean magnitudes, scaled to mean 1.

    Yang et al., Focal and Global Knowledge Distillation for Detectors, CVPR 2022, eq. 6 to 9.

    Args:
        x: ``(b, c, h, w)``.
        temperature: The smaller, the sharper.

    Returns:
        ``(b, 1, h, w)``, summing to h·w per image, and ``(b, c, 1, 1)``, summing to c.
    """
    b, c, h, w = x.shape
    # Sums scaled afterwards, not means: the gradient of a sum is a view, that of a mean a full map.
    # Cells before channels: then the gradient is laid out like a channels-last map.
    magnitude = x.abs().flatten(2).transpose(1, 2)
    places = magnitude.sum(2) * (1 / (c * temperature))
    channels = magnitude.sum(1) * (1 / (h * w * temperature))
    spatial = F.softmax(places, dim=1).view(b, 1, h, w) * (h * w)
    return spatial, F.softmax(channels, dim=1).view(b, c, 1, 1) * c
