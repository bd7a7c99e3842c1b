"""YOLO data sets: images, and one text file of labels per image."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tutelage.data.formats.build_index import OpenedSplit, SplitImages, assembled
from tutelage.data.formats.data_yaml import SplitDescription
from tutelage.data.formats.image_lists import names_in
from tutelage.data.formats.scan import label_path, scan
from tutelage.data.formats.scan_findings import (
    Explained,
    notice,
    notice_classes,
    notice_faults,
    notice_missing_labels,
    notice_no_box,
)
from tutelage.data.formats.yolo_labels import LabelFault

_LINE_FAULTS: Explained = {
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


def open_yolo(
    described: SplitDescription, split: str, *, single_class: bool = False
) -> OpenedSplit:
    """Open one split of a YOLO data set.

    Labels are looked for beside the images: the last ``/images/`` in a path becomes ``/labels/``;
    without one, in the same folder. Boxes and polygons may be mixed line by line; polygons become
    boxes. An image without a label file, or with an empty one, is background. Images that cannot be
    used and duplicate boxes are left out. What was noticed is in the index's ``findings``; whether
    an error among them is fatal is for the caller to say.

    Args:
        described: The split as the data yaml describes it.
        split: ``train``, ``val`` or ``test``.
        single_class: Treat all classes as one.
    """
    images = described.images
    label_files = [label_path(image) for image in images]
    listed = SplitImages(
        "YOLO",
        str(described.path),
        split,
        described.root,
        described.names,
        described.sources,
        images,
        label_files,
    )
    found = scan(images, described.sources)
    hint = "" if found.labelled.any() else _foreign_hint(images[0])
    findings = [
        *notice(listed, found, described.repeated),
        *notice_missing_labels(listed, found, hint),
        *notice_faults(listed, found, _LINE_FAULTS, "label line"),
        *(() if single_class else notice_classes(listed, found)),
        *notice_no_box(listed, found, "A box is a line  class x y w h  with coordinates in 0…1."),
    ]
    return assembled(listed, found, findings=findings, single_class=single_class)


def _foreign_hint(image: str) -> str:
    """Say what other label files lie near an image, in its own or a neighbouring folder."""
    folder = Path(image).parent
    places = [folder, Path(label_path(image)).parent, folder.parent, folder.parent.parent]
    for near in (folder.parent, folder.parent.parent):
        places += [near / name for name in names_in(near)]
    for place in dict.fromkeys(places):
        endings = Counter(Path(name).suffix.lower() for name in names_in(place))
        for suffix, advice in _FOREIGN_LABELS.items():
            if endings[suffix]:
                return f"There are {endings[suffix]} {suffix} files in {place}: this is {advice}"
    return ""
