"""Convolution blocks: Conv, its deploy form, DWConv and Focus."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from torch import Tensor, nn

from tutelage.models.blocks.activation import Activation, SiLU
from tutelage.models.blocks.fold import Foldable, batch_norm, biased_convolution, fold_batch_norm
from tutelage.models.blocks.pointwise import PointwiseConv2d
from tutelage.models.blocks.resample import ReOrg

Size = int | Sequence[int]


def _pair(size: Size) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    height, width = size
    return height, width


class FoldedConv(nn.Module):
    """The deploy form of Conv: a convolution with bias and its activation."""

    def __init__(self, conv: nn.Conv2d, act: nn.Module) -> None:
        super().__init__()
        self.conv = conv
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """``(b, c1, h, w)`` to ``(b, c2, h / s, w / s)``."""
        return self.act(self.conv(x))


class Conv(Foldable):
    """Convolution without bias, BatchNorm, activation.

    Args:
        c1: Input channels.
        c2: Output channels.
        k: Kernel size.
        s: Stride.
        p: Padding; None keeps the size at stride 1.
        g: Groups.
        d: Dilation.
        activation: Makes the activation.
    """

    def __init__(
        self,
        c1: int,
        c2: int,
        k: Size = 1,
        s: Size = 1,
        p: Size | None = None,
        g: int = 1,
        d: int = 1,
        *,
        activation: Activation = SiLU,
    ) -> None:
        super().__init__()
        kernel = _pair(k)
        same = ((d * (kernel[0] - 1) + 1) // 2, (d * (kernel[1] - 1) + 1) // 2)
        padding = same if p is None else _pair(p)
        stride = _pair(s)
        pointwise = (kernel, stride, padding, g) == ((1, 1), (1, 1), (0, 0), 1)
        convolution = PointwiseConv2d if pointwise else nn.Conv2d
        self.conv = convolution(
            c1, c2, kernel, stride=stride, padding=padding, groups=g, dilation=d, bias=False
        )
        self.bn = batch_norm(c2)
        self.act = activation()

    def forward(self, x: Tensor) -> Tensor:
        """``(b, c1, h, w)`` to ``(b, c2, h / s, w / s)``."""
        return self.act(self.bn(self.conv(x)))

    def deployed(self) -> FoldedConv:
        """Return one convolution with bias, then the activation."""
        kernel, bias = fold_batch_norm(self.conv.weight, self.bn)
        return FoldedConv(biased_convolution(self.conv, kernel, bias), self.act)


class DWConv(Conv):
    """Conv with as many groups as both channel counts allow."""

    def __init__(
        self,
        c1: int,
        c2: int,
        k: Size = 1,
        s: Size = 1,
        d: int = 1,
        *,
        activation: Activation = SiLU,
    ) -> None:
        super().__init__(c1, c2, k, s, g=gcd(c1, c2), d=d, activation=activation)


class Focus(nn.Module):
    """Space to depth, then Conv: the stem of early YOLOv5."""

    def __init__(
        self,
        c1: int,
        c2: int,
        k: Size = 1,
        s: Size = 1,
        p: Size | None = None,
        g: int = 1,
        *,
        activation: Activation = SiLU,
    ) -> None:
        super().__init__()
        self.fold = ReOrg()
        self.conv = Conv(4 * c1, c2, k, s, p, g, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        """``(b, c1, h, w)`` to ``(b, c2, h / 2s, w / 2s)``."""
        return self.conv(self.fold(x))
