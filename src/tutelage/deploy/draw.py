"""Detections on a picture."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
from numpy.typing import NDArray

from tutelage.structures import Detections

GOLDEN = 0.618034  # steps of this on the colour circle stay apart, however many there are
DARK, LIGHT = (20, 20, 20), (255, 255, 255)


def annotate(image: NDArray[np.uint8], found: Detections) -> NDArray[np.uint8]:
    """Return a copy of an RGB picture ``(h, w, 3)`` with boxes and captions, weakest below."""
    canvas = image.copy()
    line = max(round(sum(canvas.shape[:2]) / 700), 1)
    corners, labels = found.xyxy.round().int().tolist(), found.label.tolist()
    rows = list(zip(corners, found.score.tolist(), labels, strict=True))[::-1]
    for (left, top, right, bottom), _, label in rows:
        cv2.rectangle(canvas, (left, top), (right, bottom), colour_of(label), line, cv2.LINE_AA)
    for (left, top, *_), score, label in rows:  # after all boxes, whose lines would cross them
        name = found.names[label] if found.names else str(label)
        _caption(canvas, f"{name} {score:.2f}", (left, top), colour_of(label), line)
    return canvas


def colour_of(label: int) -> tuple[int, int, int]:
    """Return the RGB colour of a class."""
    red, green, blue = colorsys.hsv_to_rgb((0.57 + label * GOLDEN) % 1, 0.75, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def _caption(
    canvas: NDArray[np.uint8],
    text: str,
    corner: tuple[int, int],
    colour: tuple[int, int, int],
    line: int,
) -> None:
    """Write on a bar above the corner, or below where there is no room above."""
    face, scale = cv2.FONT_HERSHEY_SIMPLEX, max(0.28 * line, 0.42)
    (width, height), below = cv2.getTextSize(text, face, scale, max(line - 1, 1))
    left = max(min(corner[0] - line // 2, canvas.shape[1] - width - 4), 0)
    bar = height + below + 2
    top = corner[1] - bar if corner[1] >= bar else corner[1]
    cv2.rectangle(canvas, (left, top), (left + width + 4, top + bar), colour, cv2.FILLED)
    ink = DARK if 0.3 * colour[0] + 0.6 * colour[1] + 0.1 * colour[2] > 140 else LIGHT
    at = (left + 2, top + height + 1)
    cv2.putText(canvas, text, at, face, scale, ink, max(line - 1, 1), cv2.LINE_AA)
