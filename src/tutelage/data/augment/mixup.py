"""Mixup of two images (Zhang et al., arXiv:1710.09412), boxes of both kept."""

from __future__ import annotations

import cv2
import numpy as np

from tutelage.data.letterbox import Sample


def mixup(first: Sample, second: Sample, share: float) -> Sample:
    """Blend two images of equal shape: ``share`` of the first, the rest of the second."""
    image = cv2.addWeighted(first.image, share, second.image, 1 - share, 0)
    return Sample(
        np.asarray(image, dtype=np.uint8),
        np.concatenate([first.xyxy, second.xyxy]),
        np.concatenate([first.label, second.label]),
    )
