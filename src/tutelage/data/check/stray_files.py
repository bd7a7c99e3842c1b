"""Files that are of no use: labels without an image, links that lead back to themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tutelage.data.findings import Finding, gather
from tutelage.data.formats.build_index import OpenedSplit
from tutelage.data.formats.image_lists import names_in
from tutelage.data.image import is_image

_NOT_LABELS = ("classes", "readme", "notes", "train", "val", "valid", "test", "requirements")


def notice_orphans(splits: Sequence[OpenedSplit]) -> Iterator[Finding]:
    """Yield label files that belong to no image file, of the folders that hold labels."""
    folders: dict[str, set[str]] = {}
    for opened in splits:
        if opened.listed.kind == "COCO":
            continue
        for image, label in zip(opened.listed.images, opened.listed.label_files, strict=True):
            folders.setdefault(os.path.dirname(label), set()).add(os.path.dirname(image))  # noqa: PTH120
    lost: list[str] = []
    for folder, places in folders.items():
        stems = {
            name.rpartition(".")[0]
            for place in places
            for name in names_in(place)
            if is_image(name)
        }
        suffix = ".xml" if splits[0].listed.kind == "Pascal VOC" else ".txt"
        for name in names_in(folder):
            stem, dot, ending = name.rpartition(".")
            label = f"{dot}{ending}".lower() == suffix and not name.startswith(".")
            if label and stem not in stems and not stem.lower().startswith(_NOT_LABELS):
                lost.append(f"{folder}{os.sep}{name}")
    if lost:
        names = map(splits[0].listed.short, lost)
        fix = "Copy their images, too, or remove them."
        yield gather(
            "label-orphan", "warning", "Label files without an image", names, len(lost), fix
        )


def notice_links(splits: Sequence[OpenedSplit]) -> Iterator[Finding]:
    """Yield links in the folders of images that lead back to a folder above, or nowhere."""
    folders = {source for opened in splits for source in opened.listed.sources if source.is_dir()}
    bad = sorted({link for folder in folders for link in _bad_links(folder)})
    if bad:
        names = map(splits[0].listed.short, bad)
        what = "Links that lead in a circle or nowhere and are not followed"
        yield gather("link-loop", "warning", what, names, len(bad), "Remove them.")


def _bad_links(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        here = os.path.realpath(place)
        for name in (*folders, *files):
            path = f"{place}{os.sep}{name}"
            if not os.path.islink(path) or is_image(name):  # noqa: PTH114  (for each file)
                continue
            target = os.path.realpath(path)
            if not os.path.exists(path) or f"{here}{os.sep}".startswith(f"{target}{os.sep}"):  # noqa: PTH110
                yield path
