"""YOLO data sets: a data yaml, images, and one text file of labels per image."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tutelage.data.formats.description import Description, read_description
from tutelage.data.formats.labels import Fault
from tutelage.data.formats.scan import Scan, label_path, scan
from tutelage.data.index import DatasetIndex, Finding, Severity

_EXAMPLES = 20
_SPLIT_WORDS = {"train": "training", "val": "validation", "test": "test"}
_LINE_FAULTS: dict[Fault, tuple[str, Severity, str]] = {
    Fault.SHAPE: (
        "label-malformed",
        "error",
        "expected 'class x y w h', or a polygon 'class x1 y1 x2 y2 x3 y3 …'",
    ),
    Fault.NUMBER: ("label-not-a-number", "error", "every value must be a number"),
    Fault.CLASS: ("label-class-number", "error", "the class must be a whole number from 0 on"),
    Fault.RANGE: ("label-range", "error", "coordinates must lie in 0…1"),
    Fault.PIXELS: (
        "label-pixels",
        "error",
        "coordinates must lie in 0…1 and these look like pixels",
    ),
    Fault.DUPLICATE: ("label-duplicate", "warning", "the same box stands in the file already"),
    Fault.EMPTY: ("label-no-area", "warning", "the box has no area"),
}
_FOREIGN_LABELS = {".xml": "Pascal VOC", ".json": "COCO or LabelMe json"}


def open_yolo(path: Path, split: str, *, single_class: bool = False) -> DatasetIndex:
    """Open one split of a YOLO data set.

    Labels are looked for beside the images: the last ``/images/`` in a path becomes ``/labels/``;
    without one, in the same folder. Boxes and polygons may be mixed line by line; polygons become
    boxes. An image without a label file, or with an empty one, is background. Images that cannot be
    used and duplicate boxes are left out. What was noticed is in the index's ``findings``; whether
    an error among them is fatal is for the caller to say.

    Args:
        path: The data yaml.
        split: ``train``, ``val`` or ``test``.
        single_class: Treat all classes as one.

    Raises:
        DataError: The yaml, or something that it names, cannot be used at all.
    """
    described = read_description(path, split)
    found = scan(described.images, described.sources)
    usable = found.reasons == ""
    names = described.names
    single = (names[0] if len(names) == 1 else "item",)
    kept_rows = np.repeat(usable, found.counts)
    known = np.ones_like(kept_rows) if single_class else found.labels < len(names)
    kept_rows &= known
    labels = found.labels[kept_rows]
    image_of_row = np.repeat(np.arange(len(usable)), found.counts)
    counts = np.bincount(image_of_row[kept_rows], minlength=len(usable))
    return DatasetIndex.from_columns(
        names=single if single_class else names,
        root=described.root,
        source=str(path),
        split=split,
        paths=[image for image, good in zip(described.images, usable, strict=True) if good],
        sizes=found.sizes[usable],
        file_sizes=found.file_sizes[usable],
        boxes=found.boxes[kept_rows],
        labels=np.zeros_like(labels) if single_class else labels,
        counts=counts[usable],
        findings=tuple(_findings(path, split, described, found, known)),
    )


def _findings(
    path: Path, split: str, described: Description, found: Scan, known: NDArray[np.bool_]
) -> Iterator[Finding]:
    kind = _SPLIT_WORDS.get(split, split)
    yield from _image_findings(kind, described, found)
    yield from _missing_labels(kind, described, found)
    yield from _line_findings(described, found)
    if not known.all():
        yield _class_finding(path, described, found, known)
    labelled = found.labelled & (found.reasons == "")
    if labelled.any() and not len(found.boxes) and not len(found.bad_line):
        total = int(labelled.sum())
        example = label_path(described.images[int(np.argmax(labelled))])
        message = f"{total} label files of the {kind} images hold no box at all, e.g. {example}."
        fix = "A box is a line  class x y w h  with coordinates in 0…1."
        yield Finding("labels-empty", "error", message, (example,), total, fix)


def _image_findings(kind: str, described: Description, found: Scan) -> Iterator[Finding]:
    bad = np.flatnonzero(found.reasons != "")
    total = len(found.reasons)
    if len(bad):
        severity: Severity = "error" if len(bad) == total else "warning"
        examples = _examples(
            f"{_short(described.images[i], described.root)} {found.reasons[i]}" for i in bad
        )
        left = "cannot be used" if len(bad) == total else "cannot be used and are left out"
        message = f"{len(bad)} of {total} {kind} images {left}, e.g. {examples[0]}."
        fix = "Copy or download the images again." if severity == "error" else ""
        yield Finding("image-unusable", severity, message, examples, len(bad), fix)
    if described.repeated:
        examples = _examples(_short(image, described.root) for image in described.repeated)
        message = f"{len(described.repeated)} {kind} images are named more than once, e.g. "
        message += f"{examples[0]}; each is used once."
        yield Finding("image-repeated", "warning", message, examples, len(described.repeated))


def _missing_labels(kind: str, described: Description, found: Scan) -> Iterator[Finding]:
    usable = found.reasons == ""
    without = np.flatnonzero(usable & ~found.labelled)
    total = int(usable.sum())
    if not len(without):
        return
    image = described.images[int(without[0])]
    expected = label_path(image)
    examples = _examples(label_path(described.images[i]) for i in without)
    if len(without) < total:
        message = f"{len(without)} of {total} {kind} images have no label file and count as "
        message += f"background, e.g. {expected} is missing."
        yield Finding("labels-missing", "warning", message, examples, len(without))
        return
    message = f"0 of {total} {kind} images have a label file. "
    message += f"Expected e.g. {expected} beside {image}."
    yield Finding("labels-missing", "error", message, examples, total, _foreign_hint(image))


def _foreign_hint(image: str) -> str:
    """Say what other label files lie near an image, in its own or a neighbouring folder."""
    folder = Path(image).parent
    places = [folder, Path(label_path(image)).parent, folder.parent, folder.parent.parent]
    neighbours = [near for near in (folder.parent, folder.parent.parent) if near.is_dir()]
    places += [place for near in neighbours for place in near.iterdir() if place.is_dir()]
    for place in dict.fromkeys(place for place in places if place.is_dir()):
        endings = Counter(file.suffix.lower() for file in place.iterdir())
        for suffix, name in _FOREIGN_LABELS.items():
            if endings[suffix]:
                return (
                    f"There are {endings[suffix]} {suffix} files in {place}: this is {name}; "
                    "convert it to YOLO labels first."
                )
    return ""


def _line_findings(described: Description, found: Scan) -> Iterator[Finding]:
    for fault, (code, severity, why) in _LINE_FAULTS.items():
        cases = np.flatnonzero(found.bad_fault == fault)
        if not len(cases):
            continue
        examples = _examples(
            f"{_label_name(described, int(found.bad_image[i]))}:{found.bad_line[i]} "
            f'"{found.bad_text[i]}"'
            for i in cases
        )
        lines = "label line" if len(cases) == 1 else "label lines"
        verb = "cannot be used" if severity == "error" else "left out"
        message = f"{len(cases)} {lines} {verb}, e.g. {examples[0]}: {why}."
        fix = "Mend or remove these lines." if severity == "error" else ""
        yield Finding(code, severity, message, examples, len(cases), fix)


def _class_finding(
    path: Path, described: Description, found: Scan, known: NDArray[np.bool_]
) -> Finding:
    cases = np.flatnonzero(~known)
    image_of_row = np.repeat(np.arange(len(found.counts)), found.counts)
    first, files = int(cases[0]), len(np.unique(image_of_row[cases]))
    examples = _examples(
        f"{_label_name(described, int(image_of_row[i]))}:{found.lines[i]} class {found.labels[i]}"
        for i in cases
    )
    where = f"{_label_name(described, int(image_of_row[first]))}:{found.lines[first]}"
    more = f" (and {files - 1} more file{'s' if files > 2 else ''})" if files > 1 else ""
    count = len(described.names)
    classes = f"{count} classes (0…{count - 1})" if count > 1 else "1 class (0)"
    message = (
        f"Label class {found.labels[first]} in {where}{more}, but {path.name} names {classes}."
    )
    fix = f"Mend these labels, or name their classes in {path.name}."
    return Finding("label-class", "error", message, examples, len(cases), fix)


def _label_name(described: Description, image: int) -> str:
    return _short(label_path(described.images[image]), described.root)


def _short(path: str, root: Path) -> str:
    return path.removeprefix(f"{root}{os.sep}")


def _examples(cases: Iterable[str]) -> tuple[str, ...]:
    return tuple(case for case, _ in zip(cases, range(_EXAMPLES), strict=False))
