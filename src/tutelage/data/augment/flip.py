"""Horizontal and vertical flips."""

from __future__ import annotations

import cv2
import numpy as np

from tutelage.data.letterbox import Sample


def flip(sample: Sample, *, left_right: bool = False, up_down: bool = False) -> Sample:
    """Mirror an image and its boxes."""
    if not (left_right or up_down):
        return sample
    width, height = sample.size_wh
    xyxy = sample.xyxy.copy()
    if left_right:
        xyxy[:, [0, 2]] = width - xyxy[:, [2, 0]]
    if up_down:
        xyxy[:, [1, 3]] = height - xyxy[:, [3, 1]]
    code = -1 if left_right and up_down else int(left_right)
    return Sample(np.asarray(cv2.flip(sample.image, code), dtype=np.uint8), xyxy, sample.label)
