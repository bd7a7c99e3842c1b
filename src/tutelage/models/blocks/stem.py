"""The first block of YOLOX, whose weights were trained on BGR images in 0..255."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from tutelage.models.blocks.conv import Conv, Focus, FoldedConv
from tutelage.models.blocks.fold import Foldable, biased_convolution, fold_batch_norm
from tutelage.models.blocks.resample import ReOrg


class FoldedFocus(nn.Module):
    """The deploy form of FocusBGR: space to depth, a convolution with bias, its activation."""

    def __init__(self, conv: FoldedConv) -> None:
        super().__init__()
        self.fold = ReOrg()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        """``(b, c1, h, w)`` to ``(b, c2, h / 2s, w / 2s)``."""
        return self.conv(self.fold(x))


class FocusBGR(Focus, Foldable):
    """Focus that takes RGB images in 0..1 and has weights for BGR in 0..255; it has no groups.

    The kernel is reordered and multiplied by 255 in every call, instead of the images. So images
    need no preparation of their own, and gradients, weight decay and weight files are those of a
    network that reads BGR in 0..255.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``(b, c1, h, w)`` to ``(b, c2, h / 2s, w / 2s)``."""
        block = cast("Conv", self.conv)
        conv = block.conv
        y = F.conv2d(self.fold(x), self._kernel(), None, conv.stride, conv.padding)
        return block.act(block.bn(y))

    def deployed(self) -> FoldedFocus:
        """Return one convolution with bias for RGB in 0..1, then the activation."""
        block = cast("Conv", self.conv)
        kernel, bias = fold_batch_norm(self._kernel(), block.bn)
        return FoldedFocus(FoldedConv(biased_convolution(block.conv, kernel, bias), block.act))

    def _kernel(self) -> Tensor:
        """Return the kernel for RGB in 0..1, ``(c2, 4 c1, k, k)``: four places, then colours."""
        kernel = cast("Conv", self.conv).conv.weight
        return 255 * kernel.unflatten(1, (4, -1)).flip(2).flatten(1, 2)
