"""Boxes as distances from the centre of a cell to their four sides, in cells.

A head predicts each distance as a distribution over whole numbers of cells, of which the mean is
taken (Li et al., *Generalized Focal Loss*, NeurIPS 2020, arXiv:2006.04388).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def cell_centres(
    grids: Sequence[tuple[int, int]], strides: Sequence[int], like: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the centres of the cells of all levels and their strides.

    Args:
        grids: Rows and columns of each level.
        strides: Pixels per cell of each level.
        like: Gives device and dtype.

    Returns:
        ``(n, 2)`` x and y in cells of the own level, and ``(n, 1)`` pixels per cell; ordered by
        level, row, column.
    """
    centres, pixels = [], []
    for (ny, nx), stride in zip(grids, strides, strict=True):
        x, y = (torch.arange(n, device=like.device, dtype=like.dtype) + 0.5 for n in (nx, ny))
        centre = torch.stack((x.expand(ny, nx), y[:, None].expand(ny, nx)), -1).flatten(0, 1)
        centres.append(centre)
        pixels.append(torch.full_like(centre[:, :1], stride))
    return torch.cat(centres), torch.cat(pixels)


def mean_distance(bins: Tensor) -> Tensor:
    """Return the mean ``(...)`` of distributions over 0, 1, ... from their logits ``(..., r)``."""
    values = torch.arange(bins.shape[-1], device=bins.device, dtype=bins.dtype)
    return bins.softmax(-1) @ values


def boxes_around(centres: Tensor, distances: Tensor) -> Tensor:
    """Return corners ``(..., 4)`` from centres ``(..., 2)`` and left, top, right, bottom."""
    before, after = distances.split(2, -1)
    return torch.cat((centres - before, centres + after), -1)


def distances_to(centres: Tensor, xyxy: Tensor) -> Tensor:
    """Return left, top, right, bottom ``(..., 4)``, the inverse of :func:`boxes_around`."""
    first, second = xyxy.split(2, -1)
    return torch.cat((centres - first, second - centres), -1)
