"""The findings from the scan of a split, for every format."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from tutelage.data.findings import EXAMPLES, Finding, Severity, first_cases
from tutelage.data.formats.scan import Scan, SplitImages, class_numbers
from tutelage.data.formats.yolo_labels import LabelFault

SPLIT_WORDS = {"train": "training", "val": "validation", "test": "test"}

FaultTable = Mapping[LabelFault, tuple[str, Severity, str]]
"""Code, severity and reason of each fault."""

OBJECT_FAULTS: FaultTable = {
    LabelFault.SHAPE: ("label-malformed", "error", "an object needs a class and a box"),
    LabelFault.NUMBER: ("label-not-a-number", "error", "every value must be a number"),
    LabelFault.CLASS: ("label-class-number", "error", "there is no such category"),
    LabelFault.RANGE: ("label-range", "error", "the box lies outside of the image"),
    LabelFault.DUPLICATE: ("label-duplicate", "warning", "the same box is there already"),
    LabelFault.EMPTY: ("label-no-area", "warning", "the box has no area"),
    LabelFault.CLIPPED: ("box-clipped", "warning", "the box reaches over the edge and is clipped"),
    LabelFault.IGNORED: ("label-ignored", "info", "it is neither trained on nor evaluated"),
    LabelFault.SIZE: ("label-size", "warning", "the label file says another image size"),
    LabelFault.FRAME: (
        "label-frame",
        "error",
        "the label file means another image size, so its boxes lie elsewhere on this image",
    ),
}
"""For formats with objects in pixels, not lines."""

_USED = (LabelFault.CLIPPED, LabelFault.SIZE, LabelFault.IGNORED, LabelFault.FRAME)
_FRAME_FIX = """Say in a data yaml what the boxes refer to: the images as they are shown,
  box_frame: shown
or images of the stated size, which EXIF turns or which were scaled later:
  box_frame: stated"""
_EXTRA_COLUMNS = {
    LabelFault.SCORE: 1,
    LabelFault.TRACK: 1,
    LabelFault.SCORE_AND_TRACK: 2,
    LabelFault.HALF_POINT: 1,
}


def check_images(listing: SplitImages, scan: Scan, repeated: Sequence[str]) -> Iterator[Finding]:
    """Yield unusable images and images that are listed more than once."""
    kind = SPLIT_WORDS.get(listing.split, listing.split)
    bad = np.flatnonzero(~scan.usable)
    total = len(scan.reasons)
    if len(bad):
        severity: Severity = "error" if len(bad) == total else "warning"
        examples = first_cases(
            f"{listing.short(listing.images[i])} {scan.reasons[i]}" for i in bad.tolist()
        )
        left = "cannot be used" if len(bad) == total else "cannot be used and are left out"
        message = f"{len(bad)} of {total} {kind} images {left}, e.g. {examples[0]}."
        fix = "Copy or download the images again."
        yield Finding("image-unusable", severity, message, examples, len(bad), fix)
    if repeated:
        examples = first_cases(listing.short(image) for image in repeated)
        message = f"{len(repeated)} {kind} images are named more than once, e.g. "
        message += f"{examples[0]}; each is used once."
        yield Finding("image-repeated", "warning", message, examples, len(repeated))


def check_missing_labels(listing: SplitImages, scan: Scan, hint: str) -> Iterator[Finding]:
    """Yield images without a label file; if no image has one, an error with ``hint`` as fix."""
    kind = SPLIT_WORDS.get(listing.split, listing.split)
    without = np.flatnonzero(scan.usable & ~scan.labelled).tolist()
    total = int(scan.usable.sum())
    if not without:
        return
    image, expected = listing.images[without[0]], listing.label_files[without[0]]
    examples = first_cases(listing.label_files[i] for i in without)
    if len(without) < total:
        message = f"{len(without)} of {total} {kind} images have no label file and count as "
        message += f"background, e.g. {expected} is missing."
        fix = "If there is something on these images, label it; else write empty files."
        yield Finding("labels-missing", "warning", message, examples, len(without), fix)
        return
    message = f"0 of {total} {kind} images have a label file. "
    message += f"Expected e.g. {expected} beside {image}."
    yield Finding("labels-missing", "error", message, examples, total, hint)


def check_bad_lines(
    listing: SplitImages, scan: Scan, faults: FaultTable, word: str
) -> Iterator[Finding]:
    """Yield the faulty lines or objects, one finding per fault."""
    extra = extra_columns(scan)
    for fault, (code, severity, why) in faults.items():
        cases = np.flatnonzero(scan.bad_fault == fault).tolist()
        if not cases:
            continue
        examples = first_cases(
            f'{listing.locate(int(scan.bad_image[i]), int(scan.bad_line[i]))} "{scan.bad_text[i]}"'
            for i in cases
        )
        plural = word if len(cases) == 1 else f"{word}s"
        verb = "cannot be used" if severity == "error" else "left out"
        if fault in _USED:
            verb = "found"
        message = f"{len(cases)} {plural} {verb}, e.g. {examples[0]}: {why}."
        fix = ""
        if fault == LabelFault.FRAME:
            fix = _FRAME_FIX
        elif fault in extra:
            fix = f"Drop the last columns, the objects stay:  {fix_command(listing)}"
        elif severity == "error":
            noun = word.rpartition(" ")[2]
            fix = (
                f"Mend or remove these {noun}s; see all, or leave them out:  {fix_command(listing)}"
            )
        yield Finding(code, severity, message, examples, len(cases), fix)


def extra_columns(scan: Scan) -> Mapping[LabelFault, int]:
    """Return how many columns after an object can be dropped, by the fault of its line.

    None if the columns of a split have unlike meanings.
    """
    return {} if (scan.bad_fault == LabelFault.COLUMN).any() else _EXTRA_COLUMNS


def fix_command(listing: SplitImages) -> str:
    """Return the command that writes a copy of the data set without the faulty labels."""
    return f"tutelage check {shlex.quote(listing.source)} --fix cleaned"


def check_class_numbers(listing: SplitImages, scan: Scan) -> Iterator[Finding]:
    """Yield boxes whose class is not among the names."""
    labels, count = class_numbers(listing.names, scan), len(listing.names)
    cases = np.flatnonzero(((labels < 0) | (labels >= count)) & (scan.ignored == 0))
    if not len(cases):
        return
    image_of_box = scan.image_of_box
    files = len(np.unique(image_of_box[cases]))
    sample = [
        (listing.locate(int(image_of_box[i]), int(scan.lines[i])), _class(scan, i))
        for i in cases[:EXAMPLES].tolist()
    ]
    examples = tuple(f"{place} class {label}" for place, label in sample)
    place, label = sample[0]
    more = f" (and {files - 1} more file{'s' if files > 2 else ''})" if files > 1 else ""
    classes = f"{count} classes (0…{count - 1})" if count > 1 else "1 class (0)"
    if len(scan.words):
        classes = f"only {', '.join(listing.names)}"
    name = Path(listing.source).name
    message = f"Label class {label} in {place}{more}, but {name} names {classes}."
    fix = f"Mend these labels, or name their classes in {name}; "
    fix += f"see all, or leave them out:  {fix_command(listing)}"
    yield Finding("label-class", "error", message, examples, len(cases), fix)


def check_shares(listing: SplitImages, scan: Scan) -> Iterator[Finding]:
    """Yield an error if all boxes of a format in pixels lie in 0…1."""
    boxes = scan.boxes
    if listing.format == "YOLO" or not len(boxes) or boxes.max() > 1 + 1e-3:
        return
    owner = int(scan.image_of_box[0])
    example = listing.locate(owner, int(scan.lines[0]))
    message = f"All {len(boxes)} boxes lie in 0…1, e.g. {example}: they look like shares of the "
    message += f"image, but {listing.format} means pixels."
    fix = "Multiply them by the width and the height of their image."
    yield Finding("label-shares", "error", message, (example,), len(boxes), fix)


def check_no_boxes(listing: SplitImages, scan: Scan, fix: str) -> Iterator[Finding]:
    """Yield an error if there are label files, but none of them holds a box."""
    labelled = scan.labelled & scan.usable
    if labelled.any() and not len(scan.boxes) and not len(scan.bad_line):
        total = int(labelled.sum())
        kind = SPLIT_WORDS.get(listing.split, listing.split)
        example = listing.label_files[int(np.argmax(labelled))]
        message = f"{total} label files of the {kind} images hold no box at all, e.g. {example}."
        yield Finding("labels-empty", "error", message, (example,), total, fix)


def _class(scan: Scan, box: int) -> str:
    label = int(scan.labels[box])
    return repr(str(scan.words[label])) if len(scan.words) else str(label)
