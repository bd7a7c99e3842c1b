"""YOLO data sets: images, and one text file of labels per image."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tutelage.data.formats.build_index import OpenedSplit, build_split
from tutelage.data.formats.image_lists import ImageList, list_names
from tutelage.data.formats.scan import SplitRequest, label_path, scan_images
from tutelage.data.formats.scan_findings import FaultTable
from tutelage.data.formats.yolo_labels import LabelFault

_LINE_FAULTS: FaultTable = {
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
    LabelFault.DUPLICATE: ("label-duplicate", "warning", "the same box stands in the file already"),
    LabelFault.EMPTY: ("label-no-area", "warning", "the box has no area"),
}
_FOREIGN_LABELS = {
    ".xml": "Pascal VOC; put them beside the images, or into Annotations beside JPEGImages.",
    ".json": "COCO or LabelMe json; name a COCO json in the data yaml, convert LabelMe's first.",
}


def open_yolo(images: ImageList, request: SplitRequest) -> OpenedSplit:
    """Open one split of a YOLO data set.

    Boxes and polygons may be mixed; polygons become boxes. An image without a label file (see
    :func:`label_path`), or with an empty one, is background. Images that cannot be used and
    duplicate boxes are left out and reported in the index's ``findings``; the caller decides
    whether an error among these is fatal.
    """
    label_files = [label_path(image) for image in images.images]
    scan = scan_images(images.images, images.sources)
    return build_split(
        "YOLO",
        request,
        images,
        label_files,
        scan,
        faults=_LINE_FAULTS,
        word="label line",
        missing_hint="" if scan.labelled.any() else _foreign_labels_hint(images.images[0]),
        empty_hint="A box is a line  class x y w h  with coordinates in 0…1.",
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
