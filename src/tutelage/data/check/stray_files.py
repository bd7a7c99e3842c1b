"""Checks for unused files: labels without an image, and circular or broken links."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tutelage.data.findings import Finding, summarise
from tutelage.data.formats.build_index import OpenedSplit
from tutelage.data.formats.image_lists import list_names
from tutelage.data.image import is_image

_NOT_LABELS = ("classes", "readme", "notes", "train", "val", "valid", "test", "requirements")


def check_orphan_labels(splits: Sequence[OpenedSplit]) -> Iterator[Finding]:
    """Yield label files without an image file, in the folders that hold labels."""
    folders: dict[str, set[str]] = {}
    for opened in splits:
        if opened.listing.format == "COCO":
            continue
        for image, label in zip(opened.listing.images, opened.listing.label_files, strict=True):
            folders.setdefault(os.path.dirname(label), set()).add(os.path.dirname(image))  # noqa: PTH120
    orphans: list[str] = []
    for folder, image_folders in folders.items():
        stems = {
            name.rpartition(".")[0]
            for image_folder in image_folders
            for name in list_names(image_folder)
            if is_image(name)
        }
        suffix = ".xml" if splits[0].listing.format == "Pascal VOC" else ".txt"
        for name in list_names(folder):
            stem, dot, ending = name.rpartition(".")
            label = f"{dot}{ending}".lower() == suffix and not name.startswith(".")
            if label and stem not in stems and not stem.lower().startswith(_NOT_LABELS):
                orphans.append(f"{folder}{os.sep}{name}")
    if orphans:
        names = map(splits[0].listing.short, orphans)
        fix = "Copy their images, too, or remove them."
        what = "Label files without an image"
        yield summarise("label-orphan", "warning", what, names, len(orphans), fix)


def check_links(splits: Sequence[OpenedSplit]) -> Iterator[Finding]:
    """Yield links in the folders of images that are circular or broken."""
    folders = {source for opened in splits for source in opened.listing.sources if source.is_dir()}
    bad = sorted({link for folder in folders for link in _bad_links(folder)})
    if bad:
        names = map(splits[0].listing.short, bad)
        what = "Links that lead in a circle or nowhere and are not followed"
        yield summarise("link-loop", "warning", what, names, len(bad), "Remove them.")


def _bad_links(folder: Path) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        real_parent = os.path.realpath(parent)
        for name in (*folders, *files):
            path = f"{parent}{os.sep}{name}"
            if not os.path.islink(path) or is_image(name):  # noqa: PTH114  (for each file)
                continue
            target = os.path.realpath(path)
            circular = f"{real_parent}{os.sep}".startswith(f"{target}{os.sep}")
            if circular or not os.path.exists(path):  # noqa: PTH110
                yield path
