"""Builds the index of a split from its scan, for every format."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutelage.data.findings import Finding
from tutelage.data.formats.scan import Scan
from tutelage.data.index import DatasetIndex

LabelFormat = Literal["YOLO", "Pascal VOC", "COCO"]


class SplitImages(NamedTuple):
    """The files of one split.

    Attributes:
        format: The format of the labels.
        source: The data set as the user gave it.
        split: ``train``, ``val`` or ``test``.
        root: Folder that paths in messages are relative to.
        names: Class names.
        sources: The folders, lists or jsons of the split.
        images: The image files, sorted, without duplicates.
        label_files: One per image.
    """

    format: LabelFormat
    source: str
    split: str
    root: Path
    names: tuple[str, ...]
    sources: tuple[Path, ...]
    images: Sequence[str]
    label_files: Sequence[str]

    def short(self, path: str) -> str:
        """Return a path for messages: relative to the root if it lies below it."""
        return path.removeprefix(f"{self.root}{os.sep}")

    def locate(self, image: int, line: int) -> str:
        """Return the place of an object: file and line, or its number in a COCO json."""
        file = self.short(self.label_files[image])
        return f"{file} annotations[{line}]" if self.format == "COCO" else f"{file}:{line}"


@dataclass(frozen=True, eq=False)
class OpenedSplit:
    """One split: its index for training, and its files and scan for ``tutelage check``.

    Attributes:
        index: The usable images and boxes.
        listing: The files of the split.
        scan: Their sizes and labels.
        kept: ``(m,)`` bool, which boxes of ``scan`` are in the index.
    """

    index: DatasetIndex
    listing: SplitImages
    scan: Scan
    kept: NDArray[np.bool_]

    @property
    def usable(self) -> NDArray[np.bool_]:
        """``(n,)`` bool, which of the listed images are in the index."""
        return self.scan.reasons == ""

    @property
    def image_of_box(self) -> NDArray[np.int64]:
        """``(m,)`` the position of each box's image in the listing."""
        return np.repeat(np.arange(len(self.scan.counts)), self.scan.counts)


def build_split(
    listing: SplitImages, scan: Scan, *, findings: Sequence[Finding], single_class: bool
) -> OpenedSplit:
    """Build the index of a split without unusable images and boxes of unknown classes."""
    usable, labels = scan.reasons == "", class_numbers(listing.names, scan)
    kept = np.repeat(usable, scan.counts)
    if single_class:
        labels = np.zeros_like(labels)
    else:
        kept &= (labels >= 0) & (labels < len(listing.names))
    image_of_box = np.repeat(np.arange(len(usable)), scan.counts)
    counts = np.bincount(image_of_box[kept], minlength=len(usable))
    single = (listing.names[0] if len(listing.names) == 1 else "item",)
    index = DatasetIndex.from_columns(
        names=single if single_class else listing.names,
        root=listing.root,
        source=listing.source,
        split=listing.split,
        paths=[image for image, good in zip(listing.images, usable, strict=True) if good],
        sizes=scan.sizes[usable],
        file_sizes=scan.file_sizes[usable],
        boxes=scan.boxes[kept],
        labels=labels[kept],
        counts=counts[usable],
        findings=findings,
    )
    return OpenedSplit(index, listing, scan, kept)


def class_numbers(names: Sequence[str], scan: Scan) -> NDArray[np.int64]:
    """Return ``(m,)`` the class of each box; -1 for a class name that is not among ``names``."""
    if not len(scan.words):
        return scan.labels
    number = {name: position for position, name in enumerate(names)}
    return np.array([number.get(str(word), -1) for word in scan.words], np.int64)[scan.labels]
