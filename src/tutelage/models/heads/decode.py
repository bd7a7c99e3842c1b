"""From raw head outputs to boxes: the decoding shared by YOLOv5 (since 2021) and YOLOv7."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tutelage.losses.boxes import at_least_float32, corners, decode_cell
from tutelage.structures import Predictions


def decode(raw: Sequence[Tensor], anchors: Tensor, strides: Sequence[int]) -> Predictions:
    """Decode the raw outputs of all levels, differentiably and at least in float32.

    Args:
        raw: Logits ``(b, a, ny, nx, 5 + c)`` per level; channels x, y, w, h, objectness, classes.
        anchors: ``(levels, a, 2)`` width and height in pixels.
        strides: Pixels per cell of each level.

    Returns:
        Candidates ordered by level, anchor, row, column: ``n = sum a * ny * nx``.
    """
    wide = [at_least_float32(level) for level in raw]
    boxes = [
        corners(_centres(level[..., :4], anchors[i], strides[i])).flatten(1, 3)
        for i, level in enumerate(wide)
    ]
    values = torch.cat([level.flatten(1, 3) for level in wide], 1)
    return Predictions(
        xyxy=torch.cat(boxes, 1),
        logits=values[..., 5:],
        objectness=values[..., 4],
        level=_levels(raw),
        box_raw=values[..., :4],
        grids=tuple((level.shape[2], level.shape[3]) for level in raw),
    )


def decode_rows(raw: Sequence[Tensor], anchors: Tensor, strides: Sequence[int]) -> Tensor:
    """Decode to the rows of YOLOv5 and YOLOv7: cx, cy, w, h in pixels, then probabilities.

    Returns:
        ``(b, n, 5 + c)``, rows in the order of :func:`decode`, whose arguments these are.
    """
    rows = [
        torch.cat(
            (_centres(level[..., :4], anchors[i], strides[i]), level[..., 4:].sigmoid()), -1
        ).flatten(1, 3)
        for i, level in enumerate(map(at_least_float32, raw))
    ]
    return torch.cat(rows, 1)


def _centres(box: Tensor, anchors: Tensor, stride: int) -> Tensor:
    """``(b, a, ny, nx, 4)`` logits and ``(a, 2)`` pixels to cx, cy, w, h in pixels."""
    ny, nx = box.shape[2:4]
    rows, columns = torch.meshgrid(
        torch.arange(ny, device=box.device, dtype=box.dtype),
        torch.arange(nx, device=box.device, dtype=box.dtype),
        indexing="ij",
    )
    cells = torch.stack((columns, rows), -1)
    centre, size = decode_cell(box, anchors.to(box.dtype).view(1, -1, 1, 1, 2)).split(2, -1)
    return torch.cat(((centre + cells) * stride, size), -1)


def _levels(raw: Sequence[Tensor]) -> Tensor:
    sizes = [x.shape[1] * x.shape[2] * x.shape[3] for x in raw]
    return torch.cat([torch.full((size,), i, device="cpu") for i, size in enumerate(sizes)])
