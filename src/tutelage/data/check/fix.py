"""Writes a cleaned copy of a data set: YOLO labels, links to images, a list of omitted ones."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from tutelage.data.check.fixed_labels import fix_labels
from tutelage.data.check.report import DataReport
from tutelage.data.formats.build_index import OpenedSplit
from tutelage.data.formats.scan import label_path
from tutelage.errors import ConfigError, DataError

YAML, LEFT_OUT = "data.yaml", "left-out.txt"


class CleanedCopy(NamedTuple):
    """A cleaned copy.

    Attributes:
        yaml: Its data yaml.
        images: The number of its images.
        boxes: The number of its boxes.
        left_out: The number of images that it does not hold.
        lost: The number of labels that it does not hold, of images that it does.
    """

    yaml: Path
    images: int
    boxes: int
    left_out: int
    lost: int


def check_target(folder: Path, splits: Sequence[OpenedSplit]) -> None:
    """Refuse a folder that is not empty, or that lies inside the data set.

    Raises:
        ConfigError: It cannot be used.
    """
    target = Path(os.path.realpath(folder.expanduser()))
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise ConfigError(
            f"{folder} is not an empty folder.", fix="Name one that does not exist.", code="C29"
        )
    data_folders = {str(opened.listing.root) for opened in splits}
    for opened in splits:
        data_folders |= {os.path.dirname(file) for file in opened.listing.images}  # noqa: PTH120
        data_folders |= {os.path.dirname(file) for file in opened.listing.label_files}  # noqa: PTH120
    inside = [
        name for name in sorted(data_folders) if target.is_relative_to(os.path.realpath(name))
    ]
    if inside:
        fix = f"Name a folder elsewhere, e.g.  --fix {Path(inside[0]).parent / 'cleaned'}"
        raise ConfigError(f"{folder} lies inside the data set ({inside[0]}).", fix=fix, code="C29")


def write_fixed(report: DataReport, folder: Path) -> CleanedCopy:
    """Write a cleaned copy, atomically.

    ``images/<split>`` holds links to the images (copies where links cannot be made),
    ``labels/<split>`` the labels that training would use, without scores and track ids after them.
    Unreadable images, duplicates, and images none of whose labels can be saved, are left out; of
    duplicates the one in test, else in val, stays. The originals are not changed.

    Args:
        report: The result of the check.
        folder: See :func:`check_target`.

    Raises:
        ConfigError: The folder cannot be used.
        DataError: No image is usable.
    """
    check_target(folder, report.splits)
    folder = folder.expanduser()
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}."))
    try:
        building.chmod(0o755)
        written = _fill(report, building)
        if not written.images:
            raise DataError(
                f"No image of {report.data} can be used: there is nothing to copy.", code="D24"
            )
        building.replace(folder)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return written._replace(yaml=folder / YAML)


def _fill(report: DataReport, folder: Path) -> CleanedCopy:
    names = list(dict.fromkeys(name for each in report.splits for name in each.index.names))
    reasons = dict(find_omitted(report))
    lost: list[tuple[str, str]] = []
    document: dict[str, object] = {"path": "."}
    number = images = boxes = 0
    for opened in report.splits:
        listing, split = opened.listing, opened.listing.split
        root = os.path.commonpath([os.path.dirname(image) for image in listing.images])  # noqa: PTH120
        for image, labels in zip(listing.images, fix_labels(opened, names), strict=True):
            number += 1
            if labels.lost and not labels.lines:
                reasons.setdefault(
                    number - 1, "no label can be saved: {} {}".format(*labels.lost[0])
                )
            if number - 1 in reasons:
                continue
            lost += labels.lost
            link = folder / "images" / split / os.path.relpath(image, root)
            link.parent.mkdir(parents=True, exist_ok=True)
            _link(image, link)
            images += 1
            document[split] = f"images/{split}"
            if labels.lines is not None:
                boxes += len(labels.lines)
                label = Path(label_path(str(link)))
                label.parent.mkdir(parents=True, exist_ok=True)
                label.write_text("".join(labels.lines), "utf-8")
    paths = [image for opened in report.splits for image in opened.listing.images]
    entries = [*((paths[i], reason) for i, reason in sorted(reasons.items())), *lost]
    lines = "".join(f"{place}\t{reason}\n" for place, reason in entries)
    (folder / LEFT_OUT).write_text(lines, "utf-8", errors="surrogateescape")
    text = yaml.safe_dump({**document, "names": names}, sort_keys=False, allow_unicode=True)
    (folder / YAML).write_text(text, "utf-8")
    return CleanedCopy(folder / YAML, images, boxes, len(reasons), len(lost))


def find_omitted(report: DataReport) -> Iterator[tuple[int, str]]:
    """Yield the images to leave out, numbered through all splits, each with the reason."""
    reasons = np.concatenate([each.scan.reasons.astype(object) for each in report.splits])
    damaged = np.concatenate([stats.reasons.astype(object) for stats in report.image_stats])
    for number, (reason, damage) in enumerate(zip(reasons, damaged, strict=True)):
        if reason or damage:
            yield number, str(reason or damage)
    sizes = [len(opened.listing.images) for opened in report.splits]
    split_of = np.repeat(np.arange(len(sizes)), sizes)
    pairs = report.duplicates.same
    for first in np.unique(pairs[:, 0]).tolist():
        group = np.append(first, pairs[pairs[:, 0] == first, 1])
        last = group[int(split_of[group].argmax())]
        for number in group[group != last].tolist():
            yield number, "the same file is there a second time"


def _link(image: str, link: Path) -> None:
    try:
        link.symlink_to(os.path.realpath(image))
    except OSError:  # a file system without links
        shutil.copyfile(image, link)
