"""Cross-stage-partial blocks: Bottleneck and C3 (Wang et al., CSPNet, arXiv:1911.11929)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from tutelage.models.blocks.activation import Activation, SiLU
from tutelage.models.blocks.conv import Conv


class Bottleneck(nn.Module):
    """A 1 x 1 and a 3 x 3 Conv; the input is added where the widths agree.

    Args:
        c1: Input channels.
        c2: Output channels.
        shortcut: Add the input if ``c1 == c2``.
        g: Groups of the 3 x 3 Conv.
        e: Width of the hidden map relative to ``c2``.
        activation: Makes the activations.
    """

    def __init__(
        self,
        c1: int,
        c2: int,
        shortcut: bool = True,
        g: int = 1,
        e: float = 0.5,
        *,
        activation: Activation = SiLU,
    ) -> None:
        super().__init__()
        hidden = int(c2 * e)
        self.cv1 = Conv(c1, hidden, 1, activation=activation)
        self.cv2 = self.spatial(hidden, c2, g, activation)
        self.add = shortcut and c1 == c2

    @staticmethod
    def spatial(c1: int, c2: int, g: int, activation: Activation) -> nn.Module:
        """Make the 3 x 3 convolution."""
        return Conv(c1, c2, 3, g=g, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        """``(b, c1, h, w)`` to ``(b, c2, h, w)``."""
        y = self.cv2(self.cv1(x))
        return x + y if self.add else y


class C3(nn.Module):
    """A chain of bottlenecks beside a 1 x 1 Conv, joined by a third.

    Args:
        c1: Input channels.
        c2: Output channels.
        n: Number of bottlenecks.
        shortcut: Whether the bottlenecks add their input.
        g: Groups in the bottlenecks.
        e: Width of each path relative to ``c2``.
        activation: Makes the activations.
    """

    bottleneck: ClassVar[type[Bottleneck]] = Bottleneck

    def __init__(
        self,
        c1: int,
        c2: int,
        n: int = 1,
        shortcut: bool = True,
        g: int = 1,
        e: float = 0.5,
        *,
        activation: Activation = SiLU,
    ) -> None:
        super().__init__()
        hidden = int(c2 * e)
        self.cv1 = Conv(c1, hidden, 1, activation=activation)
        self.cv2 = Conv(c1, hidden, 1, activation=activation)
        self.cv3 = Conv(2 * hidden, c2, 1, activation=activation)
        self.m = nn.Sequential(
            *(
                self.bottleneck(hidden, hidden, shortcut, g, e=1.0, activation=activation)
                for _ in range(n)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(b, c1, h, w)`` to ``(b, c2, h, w)``."""
        return self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))
