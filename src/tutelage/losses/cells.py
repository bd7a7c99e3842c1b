"""Boxes of heads without anchors: one prediction per cell, in units of its stride."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_MAX_LOG = 20.0  # of a side in cells: its area stays finite
_TINY = 1e-8  # cells


def cells_of(raw: Sequence[Tensor], strides: Sequence[int]) -> Tensor:
    """Return column, row and stride of every cell, level after level.

    Args:
        raw: Maps ``(b, 1, ny, nx, k)`` per level.
        strides: Pixels per cell of each level.

    Returns:
        ``(n, 3)``, at least float32.
    """
    kind = torch.promote_types(raw[0].dtype, torch.float32)
    levels = []
    for level, stride in zip(raw, strides, strict=True):
        rows, columns = torch.meshgrid(
            torch.arange(level.shape[2], device=level.device, dtype=kind),
            torch.arange(level.shape[3], device=level.device, dtype=kind),
            indexing="ij",
        )
        cells = torch.stack((columns, rows, torch.full_like(rows, stride)), -1)
        levels.append(cells.flatten(0, 1))
    return torch.cat(levels)


def decode_cells(logits: Tensor, cells: Tensor) -> Tensor:
    """Turn the box logits of YOLOX into boxes.

    The centre is an offset from the corner of the cell, the size an exponential, both in strides.

    Args:
        logits: ``(..., 4)`` x, y, w, h.
        cells: ``(..., 3)`` their cells, as of :func:`cells_of`.

    Returns:
        ``(..., 4)`` cx, cy, w, h in pixels.
    """
    place, stride = cells.split((2, 1), -1)
    offset, size = logits.split(2, -1)
    return torch.cat((offset + place, size.clamp(max=_MAX_LOG).exp()), -1) * stride


def encode_cells(cxcywh: Tensor, cells: Tensor) -> Tensor:
    """Turn boxes into the logits that :func:`decode_cells` turns back; shapes as there."""
    place, stride = cells.split((2, 1), -1)
    centre, size = (cxcywh / stride).split(2, -1)
    return torch.cat((centre - place, (size + _TINY).log()), -1)
