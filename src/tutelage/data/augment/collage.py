"""A collage: images placed on a larger grey canvas, rendered only where needed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutelage.data.letterbox import GREY, Sample


class Tile(NamedTuple):
    """An image and the canvas position of its top left corner, which may lie outside."""

    sample: Sample
    x: int
    y: int


class Collage(NamedTuple):
    """Tiles on a canvas, each drawn over those before it and cropped to the canvas.

    Attributes:
        tiles: The images, all with the same ``pixel_ratio``.
        size_wh: Width and height of the canvas.
    """

    tiles: tuple[Tile, ...]
    size_wh: tuple[int, int]

    @property
    def pixel_ratio(self) -> int:
        """Rendered pixels per pixel of the canvas along each side."""
        return self.tiles[0].sample.pixel_ratio

    def boxes(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return all boxes ``(n, 4)``, clipped to the canvas, and their classes ``(n,)``."""
        moved = [
            tile.sample.xyxy + np.array([tile.x, tile.y, tile.x, tile.y], np.float32)
            for tile in self.tiles
        ]
        width, height = self.size_wh
        limit = np.array([width, height, width, height], np.float32)
        xyxy = np.clip(np.concatenate(moved), 0, limit)
        return xyxy, np.concatenate([tile.sample.label for tile in self.tiles])

    def render(self, window: tuple[int, int, int, int] | None = None) -> NDArray[np.uint8]:
        """Draw a part of the canvas.

        Args:
            window: ``x1, y1, x2, y2`` in canvas pixels, may reach outside; None: the whole canvas.

        Returns:
            ``(h, w, 3)`` uint8, ``pixel_ratio`` times as wide and high as the window; grey where
            there is no tile and outside the canvas.
        """
        ratio = self.pixel_ratio
        width, height = self.size_wh
        left, top, right, bottom = window or (0, 0, width, height)
        image = np.full((ratio * (bottom - top), ratio * (right - left), 3), GREY, np.uint8)
        for sample, x, y in self.tiles:
            tile_w, tile_h = sample.size_wh
            x1, x2 = max(x, 0, left), min(x + tile_w, width, right)
            y1, y2 = max(y, 0, top), min(y + tile_h, height, bottom)
            if x1 < x2 and y1 < y2:
                rows, columns = (y1, y2), (x1, x2)
                part = sample.image[_span(rows, y, ratio), _span(columns, x, ratio)]
                image[_span(rows, top, ratio), _span(columns, left, ratio)] = part
        return image


def _span(ends: tuple[int, int], origin: int, ratio: int) -> slice:
    """Return the pixels between two canvas positions in an image that begins at ``origin``."""
    return slice(ratio * (ends[0] - origin), ratio * (ends[1] - origin))
