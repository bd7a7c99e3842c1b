"""Augmentation on OpenCV and NumPy: each step a function of samples and drawn parameters."""

from tutelage.data.augment.pipeline import augment

__all__ = ["augment"]
