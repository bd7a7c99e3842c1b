"""Foreground and background weights of the cells of a feature map, from the boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from tutelage.losses.boxes import at_least_float32
from tutelage.structures import Targets

CHUNK_CELLS = 1 << 24
"""Boxes × cells processed at once (64 MiB in float32)."""


def object_masks(
    targets: Targets,
    batch: int,
    map_hw: tuple[int, int],
    image_size: tuple[int, int],
    *,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the weight of every cell as foreground and as background.

    A box covers the cells from that of its left edge to that of its right edge, both included
    (likewise in y). Each has weight 1 / their number; where boxes overlap, that of the smallest.
    The background cells have equal weights that sum to 1. Boxes are clipped to the image.

    Args:
        targets: The boxes of the batch in pixels of the canvas.
        batch: Number of images b.
        map_hw: Height and width of the map in cells.
        image_size: Height and width of the canvas in pixels.
        dtype: Of the weights; None: that of the boxes, at least float32.

    Returns:
        ``(b, 1, h, w)`` foreground, 0 outside the boxes; ``(b, 1, h, w)`` background, summing to 1
        per image, or all 0 where boxes cover every cell.
    """
    h, w = map_hw
    xyxy = at_least_float32(targets.xyxy) if dtype is None else targets.xyxy.to(dtype)
    columns, width = _covered(xyxy[:, 0], xyxy[:, 2], w, image_size[1])
    rows, height = _covered(xyxy[:, 1], xyxy[:, 3], h, image_size[0])
    weighted = rows / (width * height)[:, None]
    foreground = xyxy.new_zeros(batch, h * w)
    size = max(1, CHUNK_CELLS // (h * w))
    for start in range(0, len(xyxy), size):
        part = slice(start, start + size)
        boxes = (weighted[part, :, None] * columns[part, None, :]).flatten(1)
        image = targets.image[part, None].expand_as(boxes)
        foreground.scatter_reduce_(0, image, boxes, "amax")
    empty = (foreground == 0).to(foreground.dtype)
    background = empty / empty.sum(1, keepdim=True).clamp(min=1)
    return foreground.view(batch, 1, h, w), background.view(batch, 1, h, w)


def _covered(low: Tensor, high: Tensor, cells: int, pixels: int) -> tuple[Tensor, Tensor]:
    """Return along one axis which cells boxes cover ``(n, cells)`` and their extents ``(n,)``."""
    start, stop = low.clamp(0, pixels), high.clamp(0, pixels)
    visible = ((start == low) & (stop == high)) | (stop > start)
    # Multiplied before it is divided: pixels/size·cells may land beyond the edge of a cell.
    first, last = (start * cells / pixels).floor(), (stop * cells / pixels).ceil()
    index = torch.arange(cells, device=low.device, dtype=low.dtype)
    covered = (index >= first[:, None]) & (index <= last[:, None]) & visible[:, None]
    return covered.to(low.dtype), last - first + 1
