"""DownC, the two-path downsampling block of the ELAN graphs of YOLOv7 E6, D6 and E6E."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tutelage.models.blocks.activation import Activation, SiLU
from tutelage.models.blocks.conv import Conv


class DownC(nn.Module):
    """Halve the map by a strided convolution and by max-pooling, half of the channels each.

    Args:
        c1: Input channels.
        c2: Output channels.
        n: Unused repeat count, part of the row's form.
        k: Stride.
        activation: Makes the activations.
    """

    def __init__(
        self, c1: int, c2: int, n: int = 1, k: int = 2, *, activation: Activation = SiLU
    ) -> None:
        super().__init__()
        del n
        self.cv1 = Conv(c1, c1, 1, activation=activation)
        self.cv2 = Conv(c1, c2 // 2, 3, k, activation=activation)
        self.cv3 = Conv(c1, c2 // 2, 1, activation=activation)
        self.mp = nn.MaxPool2d(k, stride=k)

    def forward(self, x: Tensor) -> Tensor:
        """``(b, c1, h, w)`` to ``(b, c2, h / k, w / k)``."""
        return torch.cat((self.cv2(self.cv1(x)), self.cv3(self.mp(x))), 1)
