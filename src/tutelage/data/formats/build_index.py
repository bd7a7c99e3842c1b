"""From the scan of a split to its index, for every format."""

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

Kind = Literal["YOLO", "Pascal VOC", "COCO"]


class SplitImages(NamedTuple):
    """One split as its description lists it.

    Attributes:
        kind: The format.
        source: What the user named.
        split: The split's name.
        root: Folder that paths in messages refer to.
        names: Class names.
        sources: The folders, lists or jsons that were named for the split.
        images: The image files, sorted, each once.
        label_files: One per image.
    """

    kind: Kind
    source: str
    split: str
    root: Path
    names: tuple[str, ...]
    sources: tuple[Path, ...]
    images: Sequence[str]
    label_files: Sequence[str]

    def short(self, path: str) -> str:
        """Return a path as messages show it: relative to the root where it lies below it."""
        return path.removeprefix(f"{self.root}{os.sep}")

    def place(self, image: int, line: int) -> str:
        """Return where an object stands: file and line, or its number in a COCO json."""
        file = self.short(self.label_files[image])
        return f"{file} annotations[{line}]" if self.kind == "COCO" else f"{file}:{line}"


@dataclass(frozen=True, eq=False)
class OpenedSplit:
    """One split: its index, and what an examination needs besides.

    Attributes:
        index: What training uses.
        listed: The split as its description lists it.
        found: What its files say.
        kept: ``(m,)`` bool, which boxes of ``found`` are in the index.
    """

    index: DatasetIndex
    listed: SplitImages
    found: Scan
    kept: NDArray[np.bool_]

    @property
    def usable(self) -> NDArray[np.bool_]:
        """``(n,)`` bool, which of the listed images are in the index."""
        return self.found.reasons == ""

    @property
    def image_of_box(self) -> NDArray[np.int64]:
        """``(m,)`` the listed image of each box."""
        return np.repeat(np.arange(len(self.found.counts)), self.found.counts)


def assembled(
    listed: SplitImages, found: Scan, *, findings: Sequence[Finding], single_class: bool
) -> OpenedSplit:
    """Make the index of a split: unusable images and boxes of unknown classes are left out."""
    usable, labels = found.reasons == "", class_numbers(listed.names, found)
    kept = np.repeat(usable, found.counts)
    if single_class:
        labels = np.zeros_like(labels)
    else:
        kept &= (labels >= 0) & (labels < len(listed.names))
    image_of_box = np.repeat(np.arange(len(usable)), found.counts)
    counts = np.bincount(image_of_box[kept], minlength=len(usable))
    single = (listed.names[0] if len(listed.names) == 1 else "item",)
    index = DatasetIndex.from_columns(
        names=single if single_class else listed.names,
        root=listed.root,
        source=listed.source,
        split=listed.split,
        paths=[image for image, good in zip(listed.images, usable, strict=True) if good],
        sizes=found.sizes[usable],
        file_sizes=found.file_sizes[usable],
        boxes=found.boxes[kept],
        labels=labels[kept],
        counts=counts[usable],
        findings=findings,
    )
    return OpenedSplit(index, listed, found, kept)


def class_numbers(names: Sequence[str], found: Scan) -> NDArray[np.int64]:
    """Return ``(m,)`` the class of each box; -1 for a class name that is not among ``names``."""
    if not len(found.words):
        return found.labels
    number = {name: position for position, name in enumerate(names)}
    return np.array([number.get(str(word), -1) for word in found.words], np.int64)[found.labels]
