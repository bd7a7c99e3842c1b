"""Augmentation with OpenCV and NumPy: functions of samples and drawn parameters."""

from tutelage.data.augment.pipeline import augment

__all__ = ["augment"]
