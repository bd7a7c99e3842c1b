"""A folder of images without labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tutelage.data.findings import Finding
from tutelage.data.formats.image_lists import images_in
from tutelage.data.formats.scan import scan
from tutelage.data.index import DatasetIndex
from tutelage.errors import DataError


def open_images(folder: str | Path, names: Sequence[str]) -> DatasetIndex:
    """Open all images below a folder; label files, if there are any, are not used.

    Args:
        folder: The folder.
        names: Class names of the data set that the images stand beside.

    Raises:
        DataError: There is no such folder, or no usable image in it.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise DataError(
            f"{folder} is no folder of images.", fix="Check  distill.images.", code="D24"
        )
    images = sorted(images_in(path.absolute()))
    if not images:
        raise DataError(f"{folder} holds no image.", fix="Check  distill.images.", code="D24")
    found = scan(images, [path.absolute()])
    usable = found.reasons == ""
    bad = int((~usable).sum())
    if bad == len(images):
        reason = found.reasons[0]
        raise DataError(f"None of the {bad} images in {folder} can be used: {reason}.", code="D24")
    text = f"{bad} of {len(images)} images in {folder} cannot be used and are left out."
    return DatasetIndex.from_columns(
        names=names,
        root=path.absolute(),
        source=str(folder),
        split="train",
        paths=[image for image, good in zip(images, usable, strict=True) if good],
        sizes=found.sizes[usable],
        file_sizes=found.file_sizes[usable],
        boxes=np.zeros((0, 4), np.float32),
        labels=np.zeros(0, np.int64),
        counts=np.zeros(int(usable.sum()), np.int64),
        findings=[Finding("image-unusable", "warning", text, (), bad)] if bad else (),
    )
