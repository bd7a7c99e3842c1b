"""Colour: random gains of hue, saturation and value."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tutelage.config.schema import AugmentConfig

_HUES = 180  # OpenCV's 8-bit hue counts two degrees


def draw_gains(config: AugmentConfig, rng: np.random.Generator) -> tuple[float, float, float]:
    """Draw the factors of hue, saturation and value within the limits of ``config``."""
    limits = np.array([config.hsv_h, config.hsv_s, config.hsv_v])
    hue, saturation, value = (1 + rng.uniform(-1, 1, 3) * limits).tolist()
    return hue, saturation, value


def shift_hsv(image: NDArray[np.uint8], gains: tuple[float, float, float]) -> NDArray[np.uint8]:
    """Multiply hue (around its circle), saturation and value (up to white) of an RGB image.

    Args:
        image: ``(h, w, 3)`` uint8 RGB.
        gains: Factors of hue, saturation and value.
    """
    if gains == (1.0, 1.0, 1.0):
        return image
    ramp = np.arange(256)
    tables = (
        ramp * gains[0] % _HUES,
        np.clip(ramp * gains[1], 0, 255),
        np.clip(ramp * gains[2], 0, 255),
    )
    channels = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2HSV))
    changed = [
        cv2.LUT(channel, table.astype(np.uint8))
        for channel, table in zip(channels, tables, strict=True)
    ]
    return np.asarray(cv2.cvtColor(cv2.merge(changed), cv2.COLOR_HSV2RGB), dtype=np.uint8)
