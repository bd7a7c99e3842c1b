"""The anchor head of YOLOv7 with implicit knowledge (Wang et al., YOLOR, arXiv:2105.04206)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from tutelage.models.blocks.fold import Foldable, biased_convolution
from tutelage.models.blocks.pointwise import pointwise
from tutelage.models.heads.anchor import Detect
from tutelage.models.meta_device import without_values


class Implicit(nn.Module):
    """A learned ``(1, channels, 1, 1)`` vector around ``mean``."""

    def __init__(self, channels: int, mean: float) -> None:
        super().__init__()
        self.implicit = nn.Parameter(torch.empty(1, channels, 1, 1))
        nn.init.normal_(self.implicit, mean=mean, std=0.02)


class IDetect(Detect, Foldable):
    """Detect whose input is shifted and whose output is scaled by learned vectors.

    ``raw = im * conv(x + ia)``. Both vectors act on the convolution's own weights, so they are
    folded into them on every call and the feature maps are read once.

    Args:
        channels: Channels of each input map.
        options: As in :class:`Detect`.
    """

    def __init__(self, channels: Sequence[int], **options: Any) -> None:
        super().__init__(channels, **options)
        outputs = self.anchors.shape[1] * (5 + self.classes)
        self.ia = nn.ModuleList(Implicit(c, 0.0) for c in channels)
        self.im = nn.ModuleList(Implicit(outputs, 1.0) for _ in channels)

    def forward(self, *features: Tensor) -> tuple[Tensor, ...]:
        """As :meth:`Detect.forward`."""
        folded = self._folded()
        return tuple(
            self._split(pointwise(x, kernel, bias))
            for x, (kernel, bias) in zip(features, folded, strict=True)
        )

    def deployed(self) -> Detect:
        """Return the plain head that computes the same."""
        convolutions = self.convolutions
        with without_values():
            plain = Detect(
                [conv.in_channels for conv in convolutions],
                strides=self.strides,
                anchors=[[(1.0, 1.0)] * self.anchors.shape[1]] * len(convolutions),
                classes=self.classes,
                family=self.family,
            )
        plain.anchors = self.anchors.clone()
        plain.anchor_grid = None if self.anchor_grid is None else self.anchor_grid.clone()
        with torch.no_grad():
            plain.m = nn.ModuleList(
                biased_convolution(conv, kernel, bias)
                for conv, (kernel, bias) in zip(convolutions, self._folded(), strict=True)
            )
        return plain

    def _folded(self) -> list[tuple[Tensor, Tensor]]:
        """Weights ``(o, c, 1, 1)`` and biases ``(o,)`` of the equal convolutions."""
        folded: list[tuple[Tensor, Tensor]] = []
        for conv, ia, im in zip(self.convolutions, self.ia, self.im, strict=True):
            shift, scale = _vector(ia), _vector(im)
            bias = cast("Tensor", conv.bias) + conv.weight.flatten(1) @ shift
            folded.append((conv.weight * scale.view(-1, 1, 1, 1), bias * scale))
        return folded


def _vector(module: nn.Module) -> Tensor:
    return cast("Implicit", module).implicit.flatten()
