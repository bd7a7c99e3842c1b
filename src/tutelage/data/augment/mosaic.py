"""Mosaics of four and nine images (Bochkovskiy et al., YOLOv4, arXiv:2004.10934; YOLOv7)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tutelage.data.augment.collage import Collage, Tile
from tutelage.data.letterbox import Sample


def draw_mosaic4(samples: Sequence[Sample], size: int, rng: np.random.Generator) -> Collage:
    """Join four images at a random point in the middle of a canvas of side ``2 * size``.

    Args:
        samples: Four images whose longer side is ``size``: top left, top right, bottom left,
            bottom right.
        size: The training image size.
        rng: Draws the point where the images meet.
    """
    y, x = rng.uniform(size / 2, 3 * size / 2, 2).astype(int).tolist()
    return mosaic4(samples, size, centre_xy=(x, y))


def mosaic4(samples: Sequence[Sample], size: int, *, centre_xy: tuple[int, int]) -> Collage:
    """Join four images so that their inner corners meet at ``centre_xy``."""
    x, y = centre_xy
    first, second, third, fourth = samples
    tiles = (
        Tile(first, x - first.size_wh[0], y - first.size_wh[1]),
        Tile(second, x, y - second.size_wh[1]),
        Tile(third, x - third.size_wh[0], y),
        Tile(fourth, x, y),
    )
    return Collage(tiles, (2 * size, 2 * size))


def draw_mosaic9(samples: Sequence[Sample], size: int, rng: np.random.Generator) -> Collage:
    """Place eight images around a first one; keep a random square of side ``2 * size``."""
    y, x = rng.uniform(0, size, 2).astype(int).tolist()
    return mosaic9(samples, size, corner_xy=(x, y))


def mosaic9(samples: Sequence[Sample], size: int, *, corner_xy: tuple[int, int]) -> Collage:
    """Place the first image at ``(size, size)`` and the others clockwise around it from the top.

    Args:
        samples: Nine images whose longer side is ``size``.
        size: The training image size.
        corner_xy: Top left corner of the part that is kept, each in ``0..size``.
    """
    widths, heights = zip(*(sample.size_wh for sample in samples), strict=True)
    s, w, h = size, widths, heights
    corners = (
        (s, s),
        (s, s - h[1]),
        (s + w[1], s - h[2]),
        (s + w[0], s),
        (s + w[0], s + h[3]),
        (s + w[0] - w[5], s + h[0]),
        (s + w[0] - w[5] - w[6], s + h[0]),
        (s - w[7], s + h[0] - h[7]),
        (s - w[8], s + h[0] - h[7] - h[8]),
    )
    left, top = corner_xy
    tiles = tuple(
        Tile(sample, x - left, y - top) for sample, (x, y) in zip(samples, corners, strict=True)
    )
    return Collage(tiles, (2 * size, 2 * size))
