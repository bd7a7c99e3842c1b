"""Decoupled features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from tutelage.config.schema import NonNegative, Positive
from tutelage.distill.method import Channels, HeightWidth, LevelMethod
from tutelage.losses.boxes import at_least_float32
from tutelage.structures import Knowledge, Targets

CANONICAL_LEVEL = 4
"""The level, log2 of the stride, of a box with the canonical side."""


class DeFeat(LevelMethod):
    """Imitate the teacher inside and outside objects, each box on the level for its size.

    Guo et al., *Distilling Object Detectors via Decoupled Features*, CVPR 2021, arXiv:2103.14475;
    the term of the neck. Half a mean over channels and over the foreground cells of all images,
    likewise the background cells; then a mean over levels.

    Args:
        channels: Student and teacher channels per pair of maps.
        foreground: Weight of the cells inside boxes.
        background: Weight of the other cells.
        canonical: Side in pixels from which a box belongs to the map of stride 16; with twice the
            side it belongs to the next coarser one, with half to the next finer.

    A weight of 0 leaves its term out.

    Raises:
        ValueError: Both weights are 0.
    """

    paper = "Guo et al., CVPR 2021, arXiv:2103.14475"

    def __init__(
        self,
        channels: Channels,
        *,
        foreground: NonNegative = 3.0,
        background: NonNegative = 12.0,
        canonical: Positive = 224.0,
    ) -> None:
        super().__init__(channels)
        if not (foreground or background):
            raise ValueError("foreground and background are both 0: nothing is compared")
        self.foreground, self.background, self.canonical = foreground, background, canonical

    def make_connector(self, student: int, teacher: int) -> nn.Module:
        """Make a 3×3 convolution that starts near zero, also between equal widths."""
        connector = nn.Conv2d(student, teacher, 3, padding=1)
        nn.init.trunc_normal_(connector.weight, std=1e-4, a=-2e-4, b=2e-4)
        nn.init.zeros_(cast("Tensor", connector.bias))
        return connector

    def level(
        self, module: nn.Module, s: Tensor, t: Tensor, targets: Targets, image_size: HeightWidth
    ) -> dict[str, Tensor]:
        """Return the terms of one pair; the last channel of ``t`` is the foreground."""
        foreground = t[:, -1:]
        errors = (s - t[:, :-1]).square().mean(1, keepdim=True) / (2 * len(self.levels))
        terms = {
            "foreground": (self.foreground, foreground),
            "background": (self.background, 1 - foreground),
        }
        return {
            name: weight * (errors * mask).sum() / mask.sum().clamp(min=1)
            for name, (weight, mask) in terms.items()
            if weight
        }

    def forward(
        self, student: Knowledge, teacher: Knowledge, targets: Targets, image_size: HeightWidth
    ) -> dict[str, Tensor]:
        """Compare all pairs; every term is a mean over them."""
        from torchvision.ops import (
            clip_boxes_to_image,  # importing it imports the compiler of torch
        )

        levels = [round(math.log2(image_size[0] / t.shape[-2])) for t in teacher.features]
        with torch.autocast(targets.xyxy.device.type, enabled=False):  # needs exact coordinates
            xyxy = clip_boxes_to_image(at_least_float32(targets.xyxy), image_size)
            boxes = targets._replace(xyxy=xyxy)
            box_level = assign_levels(xyxy, levels, self.canonical)
            features = tuple(
                torch.cat((t, _foreground(boxes, box_level == level, t, image_size)), 1)
                for t, level in zip(teacher.features, levels, strict=True)
            )
        return super().forward(student, teacher._replace(features=features), targets, image_size)


def assign_levels(xyxy: Tensor, levels: Sequence[int], canonical: float) -> Tensor:
    """Return ``(n,)`` the level of each box.

    The rule of Lin et al., *Feature Pyramid Networks*, CVPR 2017, arXiv:1612.03144, eq. 1:
    ⌊k + log2(√area / canonical)⌋ with k the level of stride 16. If there is no such level, it is
    the next finer one, or else the finest.

    Args:
        xyxy: ``(n, 4)`` corners in pixels.
        levels: log2 of the stride of each map.
        canonical: Side in pixels of a box of stride 16.
    """
    area = (xyxy[:, 2:] - xyxy[:, :2]).clamp(min=0).prod(1)
    ideal = (CANONICAL_LEVEL + torch.log2(area.sqrt() / canonical)).floor()
    existing = ideal.new_tensor(sorted(set(levels)))
    position = torch.searchsorted(existing, ideal, right=True) - 1
    return existing[position.clamp(min=0)]


def _foreground(boxes: Targets, selected: Tensor, t: Tensor, image_size: HeightWidth) -> Tensor:
    """Return ``(b, 1, h, w)``: 1 in the cells of the selected boxes, 0 elsewhere."""
    b, _, h, w = t.shape
    rows = _covered(boxes.xyxy[:, 1], boxes.xyxy[:, 3], h, image_size[0])
    columns = _covered(boxes.xyxy[:, 0], boxes.xyxy[:, 2], w, image_size[1])
    image = torch.arange(b, device=t.device)[:, None]
    member = (boxes.image == image) & selected
    # One matrix product counts the boxes of each cell, without a map per box.
    count = (member[:, None] * rows.T) @ columns
    return (count > 0).to(t.dtype)[:, None]


def _covered(low: Tensor, high: Tensor, cells: int, pixels: int) -> Tensor:
    """Return ``(n, cells)``: 1 from the cell of the low end to before that of the high end.

    A box within one cell covers it, one without extent covers nothing.
    """
    first, end = (low * cells / pixels).floor(), (high * cells / pixels).floor()
    index = torch.arange(cells, device=low.device)
    covered = (index >= first[:, None]) & (index < end.maximum(first + 1)[:, None])
    return (covered & (high > low)[:, None]).to(low.dtype)
