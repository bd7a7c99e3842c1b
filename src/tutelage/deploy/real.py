"""Real images, for verifying an export and for calibrating its integers."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutelage.data import open_dataset, read_image
from tutelage.data.opening import Split
from tutelage.deploy.sources import read_frames
from tutelage.errors import DataError, ExportError, MissingExtraError

BUILT_IN = "digits"


class RealImages(NamedTuple):
    """Images, ``(h, w, 3)`` uint8 RGB each, and where they come from."""

    images: list[NDArray[np.uint8]]
    source: str


def images_to_verify(
    images: str | Path | None, data: str | Path | None, *, count: int
) -> RealImages:
    """Return some of the images given, else of the val split, else the built-in digits.

    Args:
        images: Image, folder or pattern, or None.
        data: Data set of the model, or None.
        count: At most so many.

    Raises:
        DataError: The images given cannot be read.
        ExportError: There is no image at all.
    """
    if images is not None:
        frames = islice(read_frames(images), count)
        return RealImages([frame.image for frame in frames], str(images))
    for each in (data, BUILT_IN):
        if each is not None:
            try:
                return images_of(each, "val", count=count)
            except (DataError, MissingExtraError):  # moved since the training, or not installed
                continue
    raise ExportError(
        "There is no real image to verify the export on.",
        fix="Name some:  --images photos/",
        code="E22",
    )


def images_of(data: str | Path, split: Split, *, count: int) -> RealImages:
    """Return images of a data set, evenly spread over a split.

    Raises:
        DataError: The data set cannot be used.
        MissingExtraError: The built-in digits were asked for without scikit-learn.
    """
    index = open_dataset(data, split)
    chosen = np.unique(np.linspace(0, len(index) - 1, count).round().astype(int)).tolist()
    return RealImages([read_image(index.path(each)) for each in chosen], f"{split} of {data}")
