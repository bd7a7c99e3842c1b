"""Spatial pyramid pooling: SPP, SPPF, SPPELAN and SPPCSPC (He et al., arXiv:1406.4729)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tutelage.models.blocks.activation import Activation, SiLU
from tutelage.models.blocks.conv import Conv

KERNELS = (5, 9, 13)


class _Pyramid(nn.Module):
    """The map and its max-poolings of growing size, joined along channels.

    The maximum over a window is the maximum of the maxima over smaller windows, so each pooling
    continues from the one before it: 5, 9, 13 are three poolings of size 5.
    """

    def __init__(self, kernels: Sequence[int]) -> None:
        super().__init__()
        if any(k % 2 == 0 for k in kernels):
            raise ValueError(f"pooling sizes must be odd, got {tuple(kernels)}")
        if list(kernels) != sorted(set(kernels)):
            raise ValueError(f"pooling sizes must grow, got {tuple(kernels)}")
        steps = [k - before + 1 for before, k in zip((1, *kernels), kernels, strict=False)]
        self.pools = nn.ModuleList(nn.MaxPool2d(k, stride=1, padding=k // 2) for k in steps)

    def forward(self, x: Tensor) -> Tensor:
        """``(b, c, h, w)`` to ``(b, c * (1 + pools), h, w)``."""
        maps = [x]
        for pool in self.pools:
            maps.append(pool(maps[-1]))
        return torch.cat(maps, 1)


class SPP(nn.Module):
    """Parallel max-poolings between two 1 x 1 Convs.

    Args:
        c1: Input channels.
        c2: Output channels.
        k: Pooling sizes, odd and growing.
        activation: Makes the activations.
    """

    def __init__(
        self, c1: int, c2: int, k: Sequence[int] = KERNELS, *, activation: Activation = SiLU
    ) -> None:
        super().__init__()
        hidden = c1 // 2
        self.cv1 = Conv(c1, hidden, 1, activation=activation)
        self.cv2 = Conv(hidden * (len(k) + 1), c2, 1, activation=activation)
        self.m = _Pyramid(k)

    def forward(self, x: Tensor) -> Tensor:
        """``(b, c1, h, w)`` to ``(b, c2, h, w)``."""
        return self.cv2(self.m(self.cv1(x)))


class SPPF(SPP):
    """SPP whose poolings are those of one size ``k`` applied once, twice and three times."""

    def __init__(self, c1: int, c2: int, k: int = 5, *, activation: Activation = SiLU) -> None:
        super().__init__(c1, c2, (k, 2 * k - 1, 3 * k - 2), activation=activation)


class SPPELAN(nn.Module):
    """Three poolings of size 5, one after the other, between two 1 x 1 Convs (YOLOv9).

    Args:
        c1: Input channels.
        c2: Output channels.
        activation: Makes the activations.
    """

    def __init__(self, c1: int, c2: int, *, activation: Activation = SiLU) -> None:
        super().__init__()
        hidden = c2 // 2
        self.conv1 = Conv(c1, hidden, 1, activation=activation)
        self.pools = _Pyramid(KERNELS)
        self.conv5 = Conv(4 * hidden, c2, 1, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        """``(b, c1, h, w)`` to ``(b, c2, h, w)``."""
        return self.conv5(self.pools(self.conv1(x)))


class SPPCSPC(nn.Module):
    """Pyramid pooling inside a cross-stage-partial block, the neck's first block in YOLOv7.

    Args:
        c1: Input channels.
        c2: Output channels.
        n: Unused repeat count, part of the row's form.
        shortcut: Unused, part of the row's form.
        g: Unused group count, part of the row's form.
        e: Half of the width of each path relative to ``c2``.
        k: Pooling sizes, odd and growing.
        activation: Makes the activations.
    """

    def __init__(
        self,
        c1: int,
        c2: int,
        n: int = 1,
        shortcut: bool = False,
        g: int = 1,
        e: float = 0.5,
        k: Sequence[int] = KERNELS,
        *,
        activation: Activation = SiLU,
    ) -> None:
        super().__init__()
        del n, shortcut, g
        hidden = int(2 * c2 * e)
        self.cv1 = Conv(c1, hidden, 1, activation=activation)
        self.cv2 = Conv(c1, hidden, 1, activation=activation)
        self.cv3 = Conv(hidden, hidden, 3, activation=activation)
        self.cv4 = Conv(hidden, hidden, 1, activation=activation)
        self.m = _Pyramid(k)
        self.cv5 = Conv((len(k) + 1) * hidden, hidden, 1, activation=activation)
        self.cv6 = Conv(hidden, hidden, 3, activation=activation)
        self.cv7 = Conv(2 * hidden, c2, 1, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        """``(b, c1, h, w)`` to ``(b, c2, h, w)``."""
        a = self.cv4(self.cv3(self.cv1(x)))
        b = self.cv6(self.cv5(self.m(a)))
        return self.cv7(torch.cat((b, self.cv2(x)), 1))
