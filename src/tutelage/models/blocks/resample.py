"""Blocks without weights that move, join or shrink feature maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MP(nn.MaxPool2d):
    """Max-pooling with stride ``k``: ``(b, c, h, w)`` to ``(b, c, h / k, w / k)``."""

    def __init__(self, k: int = 2) -> None:
        super().__init__(k, stride=k)


class SP(nn.MaxPool2d):
    """Max-pooling that keeps the size at stride 1: ``(b, c, h, w)`` to ``(b, c, h / s, w / s)``."""

    def __init__(self, k: int = 3, s: int = 1) -> None:
        super().__init__(k, stride=s, padding=k // 2)


class ReOrg(nn.Module):
    """Space to depth: each 2 x 2 block of pixels becomes four channel groups."""

    def forward(self, x: Tensor) -> Tensor:
        """``(b, c, h, w)`` to ``(b, 4c, h / 2, w / 2)``."""
        even, odd = x[..., ::2, :], x[..., 1::2, :]
        return torch.cat((even[..., ::2], odd[..., ::2], even[..., 1::2], odd[..., 1::2]), 1)


class Concat(nn.Module):
    """Join maps of equal size along channels."""

    def forward(self, *maps: Tensor) -> Tensor:
        """Maps ``(b, c_i, h, w)`` to ``(b, sum c_i, h, w)``."""
        return torch.cat(maps, 1)


class Shortcut(nn.Module):
    """Add two maps of equal shape."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Two ``(b, c, h, w)`` to their sum."""
        return first + second
