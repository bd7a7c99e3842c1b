"""Boxes and captions on pictures."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]

GOLDEN = 0.618034  # hues at multiples of the golden ratio stay apart for any number of classes
GREY: Colour = (150, 150, 150)
DARK, LIGHT = (20, 20, 20), (255, 255, 255)


def colour_of(label: int) -> Colour:
    """Return the RGB colour of a class."""
    red, green, blue = colorsys.hsv_to_rgb((0.57 + label * GOLDEN) % 1, 0.75, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_boxes(
    image: NDArray[np.uint8],
    xyxy: NDArray[np.float32],
    colours: Sequence[Colour],
    captions: Sequence[str] = (),
) -> NDArray[np.uint8]:
    """Return a copy of an RGB picture ``(h, w, 3)`` with boxes, the first one on top.

    Args:
        image: The picture.
        xyxy: Corners ``(n, 4)`` in pixels.
        colours: RGB, of each box.
        captions: One per box, or none.
    """
    canvas = image.copy()
    line = max(round(sum(canvas.shape[:2]) / 700), 1)
    corners = xyxy.round().astype(int).tolist()
    for (left, top, right, bottom), colour in reversed(list(zip(corners, colours, strict=True))):
        cv2.rectangle(canvas, (left, top), (right, bottom), colour, line, cv2.LINE_AA)
    captioned = list(zip(corners, colours, captions, strict=True)) if captions else []
    for (left, top, *_), colour, text in reversed(captioned):  # above the lines of all boxes
        _caption(canvas, text, (left, top), colour, line)
    return canvas


def _caption(
    canvas: NDArray[np.uint8], text: str, corner: tuple[int, int], colour: Colour, line: int
) -> None:
    """Write on a bar above the corner, or below where there is no room above."""
    face, scale = cv2.FONT_HERSHEY_SIMPLEX, max(0.28 * line, 0.5)
    (width, height), below = cv2.getTextSize(text, face, scale, max(line - 1, 1))
    left = max(min(corner[0] - line // 2, canvas.shape[1] - width - 4), 0)
    bar = height + below + 2
    top = corner[1] - bar if corner[1] >= bar else corner[1]
    cv2.rectangle(canvas, (left, top), (left + width + 4, top + bar), colour, cv2.FILLED)
    ink = DARK if 0.3 * colour[0] + 0.6 * colour[1] + 0.1 * colour[2] > 140 else LIGHT
    at = (left + 2, top + height + 1)
    cv2.putText(canvas, text, at, face, scale, ink, max(line - 1, 1), cv2.LINE_AA)
