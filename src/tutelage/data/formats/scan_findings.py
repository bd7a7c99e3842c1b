"""What the scan of a split shows, as findings; the same for every format."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from tutelage.data.findings import Finding, Severity, first_cases
from tutelage.data.formats.build_index import SplitImages, class_numbers
from tutelage.data.formats.scan import Scan
from tutelage.data.formats.yolo_labels import LabelFault

SPLIT_WORDS = {"train": "training", "val": "validation", "test": "test"}

Explained = Mapping[LabelFault, tuple[str, Severity, str]]

OBJECT_FAULTS: Explained = {
    LabelFault.SHAPE: ("label-malformed", "error", "an object needs a class and a box"),
    LabelFault.NUMBER: ("label-not-a-number", "error", "every value must be a number"),
    LabelFault.CLASS: ("label-class-number", "error", "there is no such category"),
    LabelFault.RANGE: ("label-range", "error", "the box lies outside of the image"),
    LabelFault.DUPLICATE: ("label-duplicate", "warning", "the same box is there already"),
    LabelFault.EMPTY: ("label-no-area", "warning", "the box has no area"),
    LabelFault.CLIPPED: ("box-clipped", "warning", "the box reaches over the edge and is clipped"),
    LabelFault.IGNORED: ("label-ignored", "info", "crowds and difficult objects teach nothing"),
    LabelFault.SIZE: ("label-size", "warning", "the label file says another image size"),
}
"""For formats that have objects in pixels, not lines."""


def notice(listed: SplitImages, found: Scan, repeated: Sequence[str]) -> Iterator[Finding]:
    """Yield what concerns the images: unusable ones, and those named more than once."""
    kind = SPLIT_WORDS.get(listed.split, listed.split)
    bad = np.flatnonzero(found.reasons != "")
    total = len(found.reasons)
    if len(bad):
        severity: Severity = "error" if len(bad) == total else "warning"
        examples = first_cases(
            f"{listed.short(listed.images[i])} {found.reasons[i]}" for i in bad.tolist()
        )
        left = "cannot be used" if len(bad) == total else "cannot be used and are left out"
        message = f"{len(bad)} of {total} {kind} images {left}, e.g. {examples[0]}."
        fix = "Copy or download the images again."
        yield Finding("image-unusable", severity, message, examples, len(bad), fix)
    if repeated:
        examples = first_cases(listed.short(image) for image in repeated)
        message = f"{len(repeated)} {kind} images are named more than once, e.g. "
        message += f"{examples[0]}; each is used once."
        yield Finding("image-repeated", "warning", message, examples, len(repeated))


def notice_missing_labels(listed: SplitImages, found: Scan, hint: str = "") -> Iterator[Finding]:
    """Yield images without a label file; if none has one, that is an error with a ``hint``."""
    kind = SPLIT_WORDS.get(listed.split, listed.split)
    usable = found.reasons == ""
    without = np.flatnonzero(usable & ~found.labelled).tolist()
    total = int(usable.sum())
    if not without:
        return
    image, expected = listed.images[without[0]], listed.label_files[without[0]]
    examples = first_cases(listed.label_files[i] for i in without)
    if len(without) < total:
        message = f"{len(without)} of {total} {kind} images have no label file and count as "
        message += f"background, e.g. {expected} is missing."
        fix = "If there is something on these images, label it; else write empty files."
        yield Finding("labels-missing", "warning", message, examples, len(without), fix)
        return
    message = f"0 of {total} {kind} images have a label file. "
    message += f"Expected e.g. {expected} beside {image}."
    yield Finding("labels-missing", "error", message, examples, total, hint)


def notice_faults(
    listed: SplitImages, found: Scan, faults: Explained, word: str
) -> Iterator[Finding]:
    """Yield the faulty lines or objects, one finding per fault.

    Args:
        listed: The split.
        found: Its scan.
        faults: Code, severity and reason of each fault.
        word: What a faulty thing is called, e.g. ``label line``.
    """
    for fault, (code, severity, why) in faults.items():
        cases = np.flatnonzero(found.bad_fault == fault).tolist()
        if not cases:
            continue
        examples = first_cases(
            f'{listed.place(int(found.bad_image[i]), int(found.bad_line[i]))} "{found.bad_text[i]}"'
            for i in cases
        )
        things = word if len(cases) == 1 else f"{word}s"
        verb = "cannot be used" if severity == "error" else "left out"
        if fault in (LabelFault.CLIPPED, LabelFault.SIZE):
            verb = "noticed"
        message = f"{len(cases)} {things} {verb}, e.g. {examples[0]}: {why}."
        fix = ""
        if severity == "error":
            things = word.rpartition(" ")[2]
            fix = f"Mend or remove these {things}s; see all, or leave them out:  {copy_of(listed)}"
        yield Finding(code, severity, message, examples, len(cases), fix)


def copy_of(listed: SplitImages) -> str:
    """Return the command that writes a copy of the labels without what is wrong in them."""
    return f"tutelage check {shlex.quote(listed.source)} --fix cleaned"


def notice_classes(listed: SplitImages, found: Scan) -> Iterator[Finding]:
    """Yield boxes of classes that are not among the names."""
    labels, count = class_numbers(listed.names, found), len(listed.names)
    cases = np.flatnonzero((labels < 0) | (labels >= count))
    if not len(cases):
        return
    image_of_box = np.repeat(np.arange(len(found.counts)), found.counts)
    files = len(np.unique(image_of_box[cases]))
    first, *_ = said = [
        (listed.place(int(image_of_box[i]), int(found.lines[i])), _class(found, i))
        for i in cases[:100].tolist()
    ]
    examples = first_cases(f"{place} class {label}" for place, label in said)
    more = f" (and {files - 1} more file{'s' if files > 2 else ''})" if files > 1 else ""
    classes = f"{count} classes (0…{count - 1})" if count > 1 else "1 class (0)"
    if len(found.words):
        classes = f"only {', '.join(listed.names)}"
    name = Path(listed.source).name
    message = f"Label class {first[1]} in {first[0]}{more}, but {name} names {classes}."
    fix = f"Mend these labels, or name their classes in {name}; "
    fix += f"see all, or leave them out:  {copy_of(listed)}"
    yield Finding("label-class", "error", message, examples, len(cases), fix)


def notice_no_box(listed: SplitImages, found: Scan, fix: str) -> Iterator[Finding]:
    """Yield an error if there are label files, but no box in any of them."""
    labelled = found.labelled & (found.reasons == "")
    if labelled.any() and not len(found.boxes) and not len(found.bad_line):
        total = int(labelled.sum())
        kind = SPLIT_WORDS.get(listed.split, listed.split)
        example = listed.label_files[int(np.argmax(labelled))]
        message = f"{total} label files of the {kind} images hold no box at all, e.g. {example}."
        yield Finding("labels-empty", "error", message, (example,), total, fix)


def _class(found: Scan, box: int) -> str:
    label = int(found.labels[box])
    return repr(str(found.words[label])) if len(found.words) else str(label)
