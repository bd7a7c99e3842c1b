"""Real images for the verification of an export and the calibration of its integers."""

from __future__ import annotations

import logging
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutelage.data import open_dataset, read_image
from tutelage.data.bit_depth import ImageRange
from tutelage.data.opening import Split
from tutelage.deploy.sources import read_frames
from tutelage.errors import DataError, ExportError, MissingExtraError
from tutelage.evaluation.validate import known_classes, match_classes
from tutelage.models.graph import GraphDetector

_log = logging.getLogger(__name__)

BUILT_IN = "digits"


class VerificationImages(NamedTuple):
    """Images, ``(h, w, 3)`` uint8 RGB each, and where they come from."""

    images: list[NDArray[np.uint8]]
    source: str


def images_to_verify(
    images: str | Path | None,
    given: str | Path | None,
    known: str | Path | None,
    *,
    count: int,
    image_range: ImageRange | None = None,
) -> VerificationImages:
    """Return the given images, else some of a val split, else of the built-in digits.

    Args:
        images: Image, folder or pattern, or None.
        given: Data set given by the user, or None.
        known: Data set of the training, or None; it may no longer exist.
        count: Maximum number of images.
        image_range: The values that are black and white in images of more than 8 bits.

    Raises:
        DataError: The images or the data set given cannot be read.
        ExportError: There is no image at all.
    """
    if images is not None:
        frames = islice(read_frames(images, image_range=image_range), count)
        return VerificationImages([frame.image for frame in frames], str(images))
    if given is not None:
        return images_of(given, "val", count=count, image_range=image_range)
    for each in (known, BUILT_IN):
        if each is not None:
            try:
                real = images_of(each, "val", count=count, image_range=image_range)
            except (DataError, MissingExtraError):  # moved since the training, or not installed
                continue
            if each != known:
                why = "are not known" if known is None else f"({known}) cannot be opened"
                _log.warning(
                    "warning: The data of this model %s: its export is verified on %s, pictures of "
                    "another kind. Give your own:  --images photos/  or  --data data.yaml",
                    why,
                    real.source,
                )
            return real
    raise ExportError(
        "There is no real image to verify the export on.",
        fix="Add  --images photos/",
        code="E22",
    )


def images_to_quantise(
    data: str | Path,
    detector: GraphDetector,
    *,
    count: int,
    image_range: ImageRange | None = None,
) -> list[NDArray[np.uint8]]:
    """Return training images for the calibration of the integers.

    Raises:
        DataError: The data set cannot be used, or has no val split for the AP.
        WeightsError: Its classes are not those of the model.
    """
    names = known_classes(open_dataset(data, "val"), detector.names).names
    match_classes(detector.names, names, model=detector.arch_name, data=str(data))
    return images_of(data, "train", count=count, image_range=image_range).images


def images_of(
    data: str | Path, split: Split, *, count: int, image_range: ImageRange | None = None
) -> VerificationImages:
    """Return images of a data set, evenly spread over a split.

    Raises:
        DataError: The data set cannot be used.
        MissingExtraError: The built-in digits need scikit-learn.
    """
    index = open_dataset(data, split, image_range=image_range)
    numbers = np.unique(np.linspace(0, len(index) - 1, count).round().astype(int)).tolist()
    images = [read_image(index.path(each), None, image_range) for each in numbers]
    return VerificationImages(images, f"{split} of {data}")
