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
    values = torch.cat([at_least_float32(level).flatten(1, 3) for level in raw], 1)
    # split, not slices: the gradient of each slice would be a tensor of all values.
    box, objectness, logits = values.split((4, 1, values.shape[-1] - 5), -1)
    cells, sizes, pixels = _of_candidates(raw, anchors.to(values), strides)
    centre, size = decode_cell(box, sizes).split(2, -1)
    return Predictions(
        xyxy=corners(torch.cat(((centre + cells) * pixels, size), -1)),
        logits=logits,
        objectness=objectness.squeeze(-1),
        level=_levels(raw),
        box_raw=box,
        grids=tuple((level.shape[2], level.shape[3]) for level in raw),
    )


def _of_candidates(
    raw: Sequence[Tensor], anchors: Tensor, strides: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return column and row, ``(n, 2)``, anchor, ``(n, 2)``, and stride, ``(n, 1)``."""
    cells, sizes, pixels = [], [], []
    for level, own, stride in zip(raw, anchors, strides, strict=True):
        number, ny, nx = level.shape[1:4]
        cell = _cells(ny, nx, own).expand(number, ny, nx, 2).flatten(0, 2)
        cells.append(cell)
        sizes.append(own[:, None, None].expand(number, ny, nx, 2).flatten(0, 2))
        pixels.append(torch.full_like(cell[:, :1], stride))
    return torch.cat(cells), torch.cat(sizes), torch.cat(pixels)


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
    cells = _cells(box.shape[2], box.shape[3], box)
    centre, size = decode_cell(box, anchors.to(box.dtype).view(1, -1, 1, 1, 2)).split(2, -1)
    return torch.cat(((centre + cells) * stride, size), -1)


def _cells(ny: int, nx: int, like: Tensor) -> Tensor:
    """Return column and row of each cell, ``(ny, nx, 2)``."""
    rows, columns = torch.meshgrid(
        torch.arange(ny, device=like.device, dtype=like.dtype),
        torch.arange(nx, device=like.device, dtype=like.dtype),
        indexing="ij",
    )
    return torch.stack((columns, rows), -1)


def _levels(raw: Sequence[Tensor]) -> Tensor:
    sizes = [x.shape[1] * x.shape[2] * x.shape[3] for x in raw]
    return torch.cat([torch.full((size,), i, device="cpu") for i, size in enumerate(sizes)])
