"""A folder of images without labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tutelage.data.findings import Finding
from tutelage.data.formats.image_lists import walk_images
from tutelage.data.formats.scan import scan_images
from tutelage.data.index import DatasetIndex
from tutelage.errors import DataError


def open_images(folder: str | Path, names: Sequence[str]) -> DatasetIndex:
    """Open all images below a folder; label files are ignored.

    Args:
        folder: The folder.
        names: Class names of the labelled data set.

    Raises:
        DataError: There is no such folder, or no usable image in it.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise DataError(
            f"{folder} is no folder of images.", fix="Check  distill.images.", code="D24"
        )
    images = sorted(walk_images(path.absolute()))
    if not images:
        raise DataError(f"{folder} holds no image.", fix="Check  distill.images.", code="D24")
    scan = scan_images(images, [path.absolute()])
    usable = scan.usable
    bad = int((~usable).sum())
    if bad == len(images):
        reason = scan.reasons[0]
        raise DataError(f"None of the {bad} images in {folder} can be used: {reason}.", code="D24")
    text = f"{bad} of {len(images)} images in {folder} cannot be used and are left out."
    return DatasetIndex.from_columns(
        names=names,
        root=path.absolute(),
        source=str(folder),
        split="train",
        paths=[image for image, good in zip(images, usable, strict=True) if good],
        sizes=scan.sizes[usable],
        file_sizes=scan.file_sizes[usable],
        boxes=np.zeros((0, 4), np.float32),
        labels=np.zeros(0, np.int64),
        counts=np.zeros(int(usable.sum()), np.int64),
        findings=[Finding("image-unusable", "warning", text, (), bad)] if bad else (),
    )
