"""Checks of boxes and classes: tiny boxes, class balance, class names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tutelage.data.findings import Finding, Severity, first_cases, summarise
from tutelage.data.formats.build_index import OpenedSplit
from tutelage.sanitise import printable

TINY = 2.0  # pixels at the training size; augmentation drops what is smaller
IMBALANCE = 10.0
MUCH_BACKGROUND = 0.5
LISTED = 20  # class names in a fix


def check_tiny_boxes(opened: OpenedSplit, image_size: int) -> Iterator[Finding]:
    """Yield boxes with a side under 2 pixels at the training size."""
    scan, image_of_box = opened.scan, opened.scan.image_of_box
    scale = image_size / np.maximum(scan.sizes.max(axis=1), 1)
    sides = (scan.boxes[:, 2:] - scan.boxes[:, :2]) * scale[image_of_box, None]
    tiny = np.flatnonzero((sides.min(axis=1) < TINY) & opened.kept).tolist()
    if tiny:
        cases = (
            f"{opened.listing.locate(int(image_of_box[i]), int(scan.lines[i]))} "
            f"{_pixels(sides[i, 0])}x{_pixels(sides[i, 1])} px"
            for i in tiny
        )
        fix = "Train at a larger size, or remove them: they cannot be learnt."
        what = f"Boxes with a side under {TINY:g} px at {image_size} px"
        yield summarise("box-tiny", "warning", what, cases, len(tiny), fix)


def _pixels(side: float) -> str:
    return f"{side:.0f}" if side >= 10 else f"{side:.2g}"


def check_class_balance(opened: OpenedSplit) -> Iterator[Finding]:
    """Yield classes without a box, class imbalance, and images without a box."""
    index = opened.index
    counts, names = index.class_counts, index.names
    empty = [name for name, count in zip(names, counts, strict=True) if not count]
    if empty and len(index.boxes):
        fix = _advice_for_empty(opened) if index.split == "train" else ""
        what, cases = "Classes without a box", map(printable, empty)
        yield summarise("class-empty", "warning", what, cases, len(empty), fix)
    present = np.flatnonzero(counts)
    if len(present) > 1:
        least, most = (int(present[arg(counts[present])]) for arg in (np.argmin, np.argmax))
        ratio = counts[most] / counts[least]
        if ratio >= IMBALANCE:
            message = f"{printable(names[most])} has {ratio:.0f} times the boxes of "
            message += f"{printable(names[least])} ({counts[most]} and {counts[least]})."
            yield Finding("class-imbalance", "info", message, (), len(present))
    without = np.flatnonzero(index.counts == 0).tolist()
    if without:
        share = len(without) / len(index)
        severity: Severity = "warning" if share > MUCH_BACKGROUND else "info"
        cases = (index.name(i) for i in without)
        what, count = "Images without a box", len(without)
        yield summarise("image-background", severity, what, cases, count, of=len(index))


def _advice_for_empty(opened: OpenedSplit) -> str:
    """Return the cure for classes without a box: where their names come from."""
    index = opened.index
    if opened.listing.format != "COCO":
        return "Remove them from the names, or add images."
    names = [name for name, count in zip(index.names, index.class_counts, strict=True) if count]
    listed = ", ".join(map(printable, names[:LISTED])) + ", …" * (len(names) > LISTED)
    return (
        "Add images, remove the categories from the json, or train with a data yaml that names the "
        f"others:  names: [{listed}]"
    )


def check_class_names(splits: Sequence[OpenedSplit]) -> Iterator[Finding]:
    """Yield class names that differ between the splits, or from a ``classes.txt``."""
    first = splits[0]
    for other in splits[1:]:
        if other.index.names != first.index.names:
            lists = first_cases(f"{o.listing.split}: {', '.join(o.index.names)}" for o in splits)
            message = f"The classes of {first.listing.split} and {other.listing.split} differ."
            fix = "Give one order for all in a data yaml:  names: [...]"
            yield Finding("names-differ", "error", message, tuple(map(printable, lists)), 1, fix)
            break
    if first.listing.format != "YOLO":
        return
    folders = {Path(file).parent for opened in splits for file in opened.listing.label_files}
    for path in sorted({f / "classes.txt" for each in folders for f in (each, each.parent)}):
        names = _lines(path)
        if names and names != list(first.index.names):
            place = first.listing.short(str(path))
            message = f"{place} names other classes than {Path(first.listing.source).name}: "
            message += f"{printable(', '.join(names))[:200]}."
            fix = "The labels follow one of the two orders; look at some with  --html"
            yield Finding("names-differ", "warning", message, (place,), 1, fix)


def check_similar_names(names: Sequence[str]) -> Iterator[Finding]:
    """Yield class names that look the same: they differ in case, spaces or marks alone."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(similar_key(name), []).append(name)
    alike = [" and ".join(map(repr, group)) for group in groups.values() if len(group) > 1]
    if alike:
        fix = "If they mean the same, give them one name in the labels or the data yaml."
        what = "Class names that look the same"
        yield summarise("names-similar", "warning", what, map(printable, alike), len(alike), fix)


def similar_key(name: str) -> str:
    """Return what names share that differ in case, spaces, hyphens or underscores alone."""
    return re.sub(r"[\s_-]+", "", unicodedata.normalize("NFKC", name).casefold())


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, ValueError):  # not UTF-8, or a NUL in its name
        return []
    return [line.strip() for line in lines if line.strip()]
