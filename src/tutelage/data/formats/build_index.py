"""Builds the index and the findings of a split from its scan, for every format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tutelage.data.findings import Finding
from tutelage.data.formats.image_lists import ImageList
from tutelage.data.formats.scan import LabelFormat, Scan, SplitImages, SplitRequest, class_numbers
from tutelage.data.formats.scan_findings import (
    FaultTable,
    check_bad_lines,
    check_class_numbers,
    check_images,
    check_missing_labels,
    check_no_boxes,
    check_shares,
)
from tutelage.data.index import DatasetIndex, IgnoredObjects


@dataclass(frozen=True, eq=False)
class OpenedSplit:
    """One split: its index for training, and its files and scan for ``tutelage check``.

    Attributes:
        index: The usable images and boxes.
        listing: The files of the split.
        scan: Their sizes and labels.
        kept: ``(m,)`` bool, which boxes of ``scan`` are in the index to be trained on.
    """

    index: DatasetIndex
    listing: SplitImages
    scan: Scan
    kept: NDArray[np.bool_]


def build_split(
    label_format: LabelFormat,
    request: SplitRequest,
    images: ImageList,
    label_files: Sequence[str],
    scan: Scan,
    *,
    faults: FaultTable,
    word: str,
    empty_hint: str,
    missing_hint: str = "",
    entries: Iterable[Finding] = (),
    image_ids: Sequence[object] = (),
    category_ids: Sequence[int | str] = (),
) -> OpenedSplit:
    """Build the index of a split without unusable images and boxes of unknown classes.

    Args:
        label_format: The format.
        request: The split, with its class names.
        images: Its images.
        label_files: One per image.
        scan: The scan of both.
        faults: The faults of the format.
        word: Name of a faulty line or object in messages, e.g. ``label line``.
        empty_hint: The fix if no label file holds a box.
        missing_hint: The fix if there is no label file at all.
        entries: Findings about the entries of a COCO json, or the lines of YOLO labels.
        image_ids: The id of each image in its COCO json, if there is one.
        category_ids: The id of each class there.
    """
    listing = SplitImages(
        **vars(request),
        format=label_format,
        images=images.images,
        sources=images.sources,
        label_files=label_files,
    )
    findings = [
        *check_images(listing, scan, images.repeated),
        *entries,
        *check_missing_labels(listing, scan, missing_hint),
        *check_bad_lines(listing, scan, faults, word),
        *(() if listing.single_class else check_class_numbers(listing, scan)),
        *check_shares(listing, scan),
        *check_no_boxes(listing, scan, empty_hint),
    ]
    usable, labels = scan.usable, class_numbers(listing.names, scan)
    kept = np.repeat(usable, scan.counts)
    if listing.single_class:
        labels = np.zeros_like(labels)
    else:
        kept &= (labels >= 0) & (labels < len(listing.names))
    image_of_box = np.cumsum(usable)[scan.image_of_box] - 1  # among the usable images
    ignored = kept & (scan.ignored > 0)
    kept &= ~ignored
    counts = np.bincount(image_of_box[kept], minlength=int(usable.sum()))
    single = (listing.names[0] if len(listing.names) == 1 else "item",)
    index = DatasetIndex.from_columns(
        names=single if listing.single_class else listing.names,
        root=listing.root,
        source=listing.source,
        split=listing.split,
        paths=[image for image, good in zip(listing.images, usable, strict=True) if good],
        sizes=scan.sizes[usable],
        file_sizes=scan.file_sizes[usable],
        boxes=scan.boxes[kept],
        labels=labels[kept],
        counts=counts,
        areas=scan.areas[kept],
        ignored=IgnoredObjects(
            image_of_box[ignored], labels[ignored], scan.boxes[ignored], scan.ignored[ignored]
        ),
        image_ids=[each for each, good in zip(image_ids, usable, strict=False) if good],
        category_ids=() if listing.single_class else category_ids,
        findings=findings,
    )
    return OpenedSplit(index, listing, scan, kept)


def add_findings(opened: OpenedSplit, findings: Iterable[Finding]) -> OpenedSplit:
    """Return a split with more findings, before its own."""
    index = replace(opened.index, findings=(*findings, *opened.index.findings))
    return replace(opened, index=index)
