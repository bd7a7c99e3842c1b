"""RepConv: three branches for training, one convolution for use (RepVGG, arXiv:2101.03697)."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tutelage.models.blocks.activation import Activation, SiLU
from tutelage.models.blocks.fold import Foldable, batch_norm, biased_convolution, fold_batch_norm


class _Branch(nn.Sequential):
    """Convolution and BatchNorm, known to checkpoints as ``0`` and ``1``."""

    def __init__(self, c1: int, c2: int, k: int, s: int, g: int) -> None:
        conv = nn.Conv2d(c1, c2, k, stride=s, padding=k // 2, groups=g, bias=False)
        super().__init__(conv, batch_norm(c2))

    @property
    def conv(self) -> nn.Conv2d:
        """The convolution."""
        return cast("nn.Conv2d", self[0])

    def folded(self) -> tuple[Tensor, Tensor]:
        """Kernel and bias of the equal convolution."""
        return fold_batch_norm(self.conv.weight, cast("nn.BatchNorm2d", self[1]))


class FoldedRepConv(nn.Module):
    """The deploy form: one 3 x 3 convolution with bias and the activation."""

    def __init__(self, conv: nn.Conv2d, act: nn.Module) -> None:
        super().__init__()
        self.rbr_reparam = conv
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """``(b, c1, h, w)`` to ``(b, c2, h / s, w / s)``."""
        return self.act(self.rbr_reparam(x))


class RepConv(Foldable):
    """Sum of a 3 x 3 branch, a 1 x 1 branch and, if shapes agree, the normalised input.

    Args:
        c1: Input channels.
        c2: Output channels.
        k: Kernel size; only 3.
        s: Stride.
        p: Padding; only None or 1.
        g: Groups.
        identity: Whether there is a branch of the input (YOLOv9 has none).
        activation: Makes the activation.
    """

    def __init__(
        self,
        c1: int,
        c2: int,
        k: int = 3,
        s: int = 1,
        p: int | None = None,
        g: int = 1,
        *,
        identity: bool = True,
        activation: Activation = SiLU,
    ) -> None:
        super().__init__()
        if k != 3 or p not in (None, 1):
            raise ValueError(f"RepConv needs kernel 3 and padding 1, got kernel {k}, padding {p}")
        self.act = activation()
        self.rbr_identity = batch_norm(c1) if identity and c1 == c2 and s == 1 else None
        self.rbr_dense = _Branch(c1, c2, 3, s, g)
        self.rbr_1x1 = _Branch(c1, c2, 1, s, g)

    def forward(self, x: Tensor) -> Tensor:
        """``(b, c1, h, w)`` to ``(b, c2, h / s, w / s)``."""
        y = self.rbr_dense(x) + self.rbr_1x1(x)
        if self.rbr_identity is not None:
            y = y + self.rbr_identity(x)
        return self.act(y)

    def deployed(self) -> FoldedRepConv:
        """Return the sum of the branches as one 3 x 3 convolution."""
        dense = self.rbr_dense.conv
        kernel, bias = self.rbr_dense.folded()
        small, small_bias = self.rbr_1x1.folded()
        kernel, bias = kernel + F.pad(small, (1, 1, 1, 1)), bias + small_bias
        if self.rbr_identity is not None:
            same, same_bias = fold_batch_norm(_identity_kernel(dense), self.rbr_identity)
            kernel, bias = kernel + same, bias + same_bias
        return FoldedRepConv(biased_convolution(dense, kernel, bias), self.act)


def _identity_kernel(like: nn.Conv2d) -> Tensor:
    """Make the ``(c, c / groups, 3, 3)`` kernel that maps a feature map to itself."""
    kernel = torch.zeros_like(like.weight)
    channel = torch.arange(like.out_channels, device=kernel.device)
    kernel[channel, channel % (like.in_channels // like.groups), 1, 1] = 1
    return kernel
