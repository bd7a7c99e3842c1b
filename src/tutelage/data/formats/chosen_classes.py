"""Keeps some classes of a data set; the objects of others become background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tutelage.data.findings import Finding, first_cases
from tutelage.data.formats.build_index import OpenedSplit
from tutelage.data.index import DatasetIndex


def choose_classes(
    opened: OpenedSplit, names: Sequence[str], *, single_class: bool = False
) -> OpenedSplit:
    """Return a split with these of its classes, in this order; see :func:`keep_classes`.

    Args:
        opened: The split, opened with all of its classes.
        names: The classes to keep.
        single_class: Treat them as one.
    """
    kept = opened.kept.copy()
    kept[opened.kept] = np.isin(opened.index.labels, _positions(opened.index, names))
    index = keep_classes(opened.index, names)
    if single_class:
        one = (names[0] if len(names) == 1 else "item",)
        ignored = replace(index.ignored, label=np.zeros_like(index.ignored.label))
        labels = np.zeros_like(index.labels)
        index = replace(index, names=one, labels=labels, ignored=ignored, category_ids=())
    listing = replace(opened.listing, names=tuple(names), single_class=single_class)
    return replace(opened, index=index, listing=listing, kept=kept)


def keep_classes(index: DatasetIndex, names: Sequence[str]) -> DatasetIndex:
    """Return an index with these of its classes, in this order; a finding counts the other objects.

    Args:
        index: The index.
        names: Some of its names.
    """
    wanted = {name: number for number, name in enumerate(names)}
    number = np.array([wanted.get(name, -1) for name in index.names], np.int64)
    labels, ignored_labels = number[index.labels].astype(np.int32), number[index.ignored.label]
    kept = labels >= 0
    ignored = replace(index.ignored, label=ignored_labels).chosen(ignored_labels >= 0)
    id_of = dict(zip(index.names, index.category_ids, strict=False))
    image_of_box = np.repeat(np.arange(len(index)), index.counts)
    counts = np.bincount(image_of_box[kept], minlength=len(index))
    findings = index.findings
    if not kept.all():
        findings = (*findings, _left_out(index, np.flatnonzero(~kept), image_of_box))
    return replace(
        index,
        names=tuple(names),
        boxes=index.boxes[kept],
        labels=labels[kept],
        areas=index.areas[kept] if len(index.areas) else index.areas,
        ignored=ignored,
        category_ids=tuple(id_of[name] for name in names) if id_of else (),
        offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)]),
        findings=findings,
    )


def _positions(index: DatasetIndex, names: Sequence[str]) -> list[int]:
    return [number for number, name in enumerate(index.names) if name in names]


def _left_out(
    index: DatasetIndex, boxes: NDArray[np.int64], image_of_box: NDArray[np.int64]
) -> Finding:
    counts = np.bincount(index.labels[boxes], minlength=len(index.names)).tolist()
    classes = [f"{name} {count}" for name, count in zip(index.names, counts, strict=True) if count]
    examples = first_cases(
        f"{index.names[int(index.labels[box])]} in {index.name(int(image_of_box[box]))}"
        for box in boxes[:100].tolist()
    )
    more = ", …" if len(classes) > 5 else ""
    message = f"{len(boxes)} of {len(index.labels)} objects of {index.split} are of classes that "
    message += f"are not used, and count as background: {', '.join(classes[:5])}{more}."
    return Finding("class-left-out", "info", message, examples, len(boxes))
