"""Checks of boxes and classes: tiny boxes, class balance, class names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tutelage.data.findings import Finding, Severity, first_cases, summarise
from tutelage.data.formats.build_index import OpenedSplit
from tutelage.sanitise import printable

TINY = 2.0  # pixels at the training size; augmentation drops what is smaller
IMBALANCE = 10.0
MUCH_BACKGROUND = 0.5


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
        fix = "Remove them from the names, or add images." if index.split == "train" else ""
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


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, ValueError):  # not UTF-8, or a NUL in its name
        return []
    return [line.strip() for line in lines if line.strip()]
