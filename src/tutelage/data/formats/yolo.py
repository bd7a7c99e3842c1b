"""YOLO data sets: images, and one text file of labels per image."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from tutelage.data.findings import Finding
from tutelage.data.formats.build_index import OpenedSplit, build_split
from tutelage.data.formats.image_lists import ImageList, list_names
from tutelage.data.formats.long_lines import check_long_lines
from tutelage.data.formats.scan import Objects, SplitRequest, label_path, read_yolo, scan_images
from tutelage.data.formats.scan_findings import FaultTable
from tutelage.data.formats.yolo_labels import LabelFault

LINE_FAULTS: FaultTable = {
    LabelFault.SHAPE: (
        "label-malformed",
        "error",
        "expected 'class x y w h', or a polygon 'class x1 y1 x2 y2 x3 y3 …'",
    ),
    LabelFault.NUMBER: ("label-not-a-number", "error", "every value must be a number"),
    LabelFault.CLASS: ("label-class-number", "error", "the class must be a whole number from 0 on"),
    LabelFault.RANGE: ("label-range", "error", "coordinates must lie in 0…1"),
    LabelFault.PIXELS: (
        "label-pixels",
        "error",
        "coordinates must lie in 0…1 and these look like pixels",
    ),
    LabelFault.SCORE: ("label-column", "error", "the last column is a score"),
    LabelFault.TRACK: ("label-column", "error", "the last column is a number such as a track id"),
    LabelFault.SCORE_AND_TRACK: (
        "label-column",
        "error",
        "the last two columns are a score and a track id",
    ),
    LabelFault.HALF_POINT: (
        "label-column",
        "error",
        "the last value of the polygon is a score, or half a point; for key points see kpt_shape",
    ),
    LabelFault.COLUMN: (
        "label-malformed",
        "error",
        "it has more columns than 'class x y w h', and no score or track id at the end",
    ),
    LabelFault.DUPLICATE: ("label-duplicate", "warning", "the same box stands in the file already"),
    LabelFault.EMPTY: ("label-no-area", "warning", "the box has no area"),
    LabelFault.CLIPPED: ("box-clipped", "warning", "it reaches over the edge and is clipped"),
}
"""For lines of a label file."""

_FOREIGN_LABELS = {
    ".xml": "Pascal VOC; put them beside the images, or into Annotations beside JPEGImages.",
    ".json": "COCO or LabelMe json; name a COCO json in the data yaml, convert LabelMe's first.",
}


def open_yolo(images: ImageList, request: SplitRequest) -> OpenedSplit:
    """Open one split of a YOLO data set.

    Boxes and polygons may be mixed; polygons become boxes. With key points, lines are a box or a
    box with its key points, which are not used. An image without a label file (see
    :func:`label_path`), or with an empty one, is background. Images that cannot be used and
    duplicate boxes are left out and reported in the index's ``findings``; the caller decides
    whether an error among these is fatal.

    Raises:
        DataError: The lines hold key points or tracks, but are no different from polygons.
    """
    label_files = [label_path(image) for image in images.images]
    keypoints, faults = request.keypoints, LINE_FAULTS

    def read_lines(image: str, label_file: str, size_wh: tuple[int, int]) -> Objects | None:
        return read_yolo(image, label_file, size_wh, keypoints)

    scan = scan_images(images.images, images.sources, label_files, read_lines, f"{keypoints}")
    long_lines: list[Finding] = []
    if keypoints is None:
        existing = [label_files[image] for image in np.flatnonzero(scan.labelled).tolist()]
        long_lines = check_long_lines(existing, request)
    else:
        columns = 5 + keypoints[0] * keypoints[1]
        why = f"kpt_shape is {list(keypoints)}, so lines must have {columns} columns, or 5"
        faults = {**LINE_FAULTS, LabelFault.SHAPE: ("label-malformed", "error", why)}
    return build_split(
        "YOLO",
        request,
        images,
        label_files,
        scan,
        faults=faults,
        word="label line",
        missing_hint="" if scan.labelled.any() else _foreign_labels_hint(images.images[0]),
        empty_hint="A box is a line  class x y w h  with coordinates in 0…1.",
        entries=long_lines,
    )


def _foreign_labels_hint(image: str) -> str:
    """Return which label files of other formats lie near an image, in up to two folders above."""
    folder = Path(image).parent
    places = [folder, Path(label_path(image)).parent, folder.parent, folder.parent.parent]
    for parent in (folder.parent, folder.parent.parent):
        places += [parent / name for name in list_names(parent)]
    for place in dict.fromkeys(places):
        suffixes = Counter(Path(name).suffix.lower() for name in list_names(place))
        for suffix, advice in _FOREIGN_LABELS.items():
            if suffixes[suffix]:
                return f"There are {suffixes[suffix]} {suffix} files in {place}: this is {advice}"
    return ""
