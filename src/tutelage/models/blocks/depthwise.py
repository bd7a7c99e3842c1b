"""Blocks of depthwise-separable convolutions (Howard et al., MobileNets, arXiv:1704.04861)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from tutelage.models.blocks.activation import Activation, SiLU
from tutelage.models.blocks.conv import Conv
from tutelage.models.blocks.csp import C3, Bottleneck


class DSConv(nn.Module):
    """A Conv of each channel by itself, then a 1 x 1 Conv over the channels.

    Args:
        c1: Input channels.
        c2: Output channels.
        k: Kernel size of the first.
        s: Stride of the first.
        activation: Makes the activations.
    """

    def __init__(
        self, c1: int, c2: int, k: int = 1, s: int = 1, *, activation: Activation = SiLU
    ) -> None:
        super().__init__()
        self.dconv = Conv(c1, c1, k, s, g=c1, activation=activation)
        self.pconv = Conv(c1, c2, 1, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        """``(b, c1, h, w)`` to ``(b, c2, h / s, w / s)``."""
        return self.pconv(self.dconv(x))


class DSBottleneck(Bottleneck):
    """Bottleneck whose 3 x 3 convolution is depthwise-separable; it has no groups."""

    @staticmethod
    def spatial(c1: int, c2: int, g: int, activation: Activation) -> nn.Module:
        """Make the 3 x 3 convolution."""
        if g != 1:
            raise ValueError(f"a depthwise-separable convolution has no groups, got {g}")
        return DSConv(c1, c2, 3, activation=activation)


class C3DS(C3):
    """C3 of depthwise-separable bottlenecks."""

    bottleneck: ClassVar[type[Bottleneck]] = DSBottleneck
