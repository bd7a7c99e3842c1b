"""The anchor head: one 1 x 1 convolution per pyramid level."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from tutelage.weights.convert import Family

Anchors = Sequence[Sequence[tuple[float, float]]]
"""Per level, the (width, height) of each anchor in pixels."""

_SLACK: Mapping[Family, float] = {"yolov7": 0.99, "yolov5": 0.99999}


class Detect(nn.Module):
    """Predict ``5 + classes`` logits per anchor and cell: x, y, w, h, objectness, classes.

    Args:
        channels: Channels of each input map.
        strides: Pixels per cell of each input map.
        anchors: Anchors in pixels, one list per level; levels in the wrong order are reversed.
        classes: Number of classes.
        family: Decides the class bias and whether the anchors in pixels are a second buffer.

    Attributes:
        maps_per_level: How many inputs a level has in a graph.
        m: The convolutions.
        anchors: ``(levels, a, 2)`` width and height in cells.
        anchor_grid: ``(levels, 1, a, 1, 1, 2)`` in pixels, or None (YOLOv5).
    """

    maps_per_level: ClassVar[int] = 1

    anchors: Tensor
    anchor_grid: Tensor | None

    def __init__(
        self,
        channels: Sequence[int],
        *,
        strides: Sequence[int],
        anchors: Anchors,
        classes: int,
        family: Family,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.family: Family = family
        self.strides = tuple(strides)
        pixels = torch.tensor(_in_level_order(anchors, strides, family))
        levels, count, _ = pixels.shape
        self.register_buffer("anchors", pixels / torch.tensor(strides).view(-1, 1, 1))
        grid = pixels.view(levels, 1, count, 1, 1, 2) if family == "yolov7" else None
        self.register_buffer("anchor_grid", grid)
        self.m = nn.ModuleList(nn.Conv2d(c, count * (5 + classes), 1) for c in channels)
        self._start_biases(self.convolutions)

    @property
    def convolutions(self) -> list[nn.Conv2d]:
        """The convolution of each level."""
        return [cast("nn.Conv2d", conv) for conv in self.m]

    @property
    def pixels(self) -> Tensor:
        """``(levels, a, 2)`` anchor widths and heights in pixels."""
        if self.anchor_grid is not None:
            return self.anchor_grid.view(self.anchors.shape)
        return torch.stack([a * s for a, s in zip(self.anchors, self.strides, strict=True)])

    @torch.no_grad()
    def set_pixels(self, pixels: Tensor) -> None:
        """Replace the anchors by ``(levels, a, 2)`` widths and heights in pixels."""
        if pixels.shape != self.anchors.shape:
            raise ValueError(
                f"expected anchors of shape {tuple(self.anchors.shape)}, got {tuple(pixels.shape)}"
            )
        self.anchors.copy_(torch.stack([a / s for a, s in zip(pixels, self.strides, strict=True)]))
        if self.anchor_grid is not None:
            self.anchor_grid.copy_(pixels.view(self.anchor_grid.shape))

    def forward(self, *features: Tensor) -> tuple[Tensor, ...]:
        """Each level's ``(b, c, ny, nx)`` map to ``(b, a, ny, nx, 5 + classes)`` logits."""
        return tuple(self._split(conv(x)) for conv, x in zip(self.m, features, strict=True))

    def _split(self, x: Tensor) -> Tensor:
        """Give each anchor its own axis; on channels-last maps the copy runs along memory."""
        b, _, ny, nx = x.shape
        x = x.view(b, self.anchors.shape[1], 5 + self.classes, ny, nx)
        return x.permute(0, 1, 3, 4, 2).contiguous()

    @torch.no_grad()
    def _start_biases(self, convolutions: Sequence[nn.Conv2d]) -> None:
        """Start from few objects: 8 per 640 px image, and classes at about 0.6 / count each."""
        slack = _SLACK[self.family]
        for conv, stride in zip(convolutions, self.strides, strict=True):
            bias = cast("Tensor", conv.bias).view(-1, 5 + self.classes)
            bias[:, 4] += math.log(8 / (640 / stride) ** 2)
            bias[:, 5:] += math.log(0.6 / (self.classes - slack))


def _in_level_order(
    anchors: Anchors, strides: Sequence[int], family: Family
) -> list[list[tuple[float, float]]]:
    """Reverse the levels if their anchors shrink where the strides grow."""
    levels = [[(float(w), float(h)) for w, h in level] for level in anchors]
    if family == "yolov7":
        first, last = math.prod(levels[0][0]), math.prod(levels[-1][-1])
    else:
        first, last = (sum(map(math.prod, levels[i])) / len(levels[i]) for i in (0, -1))
    growth, step = last - first, strides[-1] - strides[0]
    return levels[::-1] if growth * step < 0 else levels
