"""Finds the image files that a COCO json names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tutelage.data.image import is_image
from tutelage.errors import DataError
from tutelage.sanitise import printable

_SAMPLE = 20  # file names tried to find their folder
_FOLDERS = ("", "images", "data", "img", "imgs")
_JSON_FOLDERS = ("annotations", "annotation", "labels", "jsons")
_WORD = re.compile(r"[a-z]+\d*|\d+", re.IGNORECASE)
_SEARCH_DEPTH, _SEARCH_LIMIT = 3, 2000


class FoundImages(NamedTuple):
    """The image files of a COCO json.

    Attributes:
        files: One per name; empty for names that lead to no image of the data set.
        folder: The folder that the names are relative to.
        dropped: Leading parts of the names that were left out because they belong to another
            machine, e.g. ``/home/me/data``; empty if the names are used as they are.
        outside: Names that lead to no image below the data set's folder; never read.
    """

    files: list[str]
    folder: Path
    dropped: str
    outside: list[str]


def find_images(path: Path, names: Sequence[str], bases: Sequence[Path] = ()) -> FoundImages:
    """Find the image files of a json.

    They are looked for beside the json, beside its folder ``annotations``, in ``images`` or
    ``data`` there, in folders called like the json or a word of its name (``train2017`` for
    ``person_keypoints_train2017.json``), and then in all folders below. Where none of the names
    exists as written, the leading folders of the names are dropped.

    Args:
        path: The json.
        names: The file names in it.
        bases: More folders.

    Raises:
        DataError: There are names of images, none of which exists, or the folder is ambiguous.
    """
    folder = path.parent
    root = folder.parent if folder.name.lower() in _JSON_FOLDERS else folder
    roots = list(dict.fromkeys((folder, root, *bases)))
    sample = [_slashes(name) for name in names[:: max(len(names) // _SAMPLE, 1)]]
    sample = [name for name in sample if name.isprintable() and is_image(name)]
    tags = list(dict.fromkeys([path.stem, *_WORD.findall(path.stem), *_split_words(path.stem)]))
    likely = [base / part for base in roots for part in _FOLDERS]
    likely += [base / part / tag for base in roots for part in _FOLDERS for tag in tags]
    deepest = max((name.count("/") for name in sample), default=0)
    place, dropped = None, 0
    for dropped in range(deepest + 1):
        tails = [tail for tail in (_tail(name, dropped) for name in sample) if tail]
        place = _most_hits(likely, tails) or _search(path, root, tails, tags)
        if place is not None:
            break
    if place is None:
        place, dropped = folder, 0
        if any(_is_inside(name) for name in sample):
            raise _nothing_found(path, names, roots, tags, root)
    return _resolve(names, place, root, dropped)


def _resolve(names: Sequence[str], place: Path, root: Path, dropped: int) -> FoundImages:
    allowed = tuple(f"{parent}{os.sep}" for parent in (place, root))
    files: list[str] = []
    outside: list[str] = []
    cut = ""
    for name in names:
        tail = _tail(_slashes(name), dropped)
        image = os.path.normpath(f"{place}{os.sep}{tail}")
        safe = tail and image.startswith(allowed) and not tail.startswith("/")
        if not (safe and is_image(image) and name.isprintable()):
            outside.append(printable(name[:80]))
            image = ""
        elif dropped and not cut:
            cut = _slashes(name).removesuffix(f"/{tail}")
        files.append(image)
    return FoundImages(files, place, printable(cut), outside)


def _nothing_found(
    path: Path, names: Sequence[str], roots: Sequence[Path], tags: Sequence[str], root: Path
) -> DataError:
    places = ", ".join(map(str, roots))
    parts = ", ".join(part for part in (*_FOLDERS, *tags) if part)
    what = f"{path}: none of its {len(names)} images is found, e.g. {printable(names[0][:80])}."
    where = f"looked in {places}, in {printable(parts)} there, and in all folders below {root}"
    return DataError(what, where=where, fix=f"Put them into {root / 'images'}.", code="D24")


def _split_words(stem: str) -> Iterator[str]:
    """Yield the folders that are usual for the split that a name speaks of."""
    for words in (("train",), ("val", "valid", "validation"), ("test",)):
        if any(re.search(rf"(?<![a-z]){word}(?![a-z])", stem, re.IGNORECASE) for word in words):
            yield from words
            yield f"{words[0]}2017"


def _most_hits(folders: Sequence[Path], names: Sequence[str]) -> Path | None:
    """Return the first folder with the most of the names; None if there is none of them."""
    hits = {f: sum(_exists(f, name) for name in names) for f in dict.fromkeys(folders)}
    best = max(hits, key=lambda folder: hits[folder], default=None)
    return best if best is not None and hits[best] else None


def _search(path: Path, root: Path, names: Sequence[str], tags: Sequence[str]) -> Path | None:
    """Return the folder below ``root`` that has the names; the json's words decide between many.

    Raises:
        DataError: Several folders have them.
    """
    found = [f for f in _folders_below(root) if any(_exists(f, name) for name in names)]
    words = {tag.lower() for tag in tags}
    named = [f for f in found if words & {part.lower() for part in f.relative_to(root).parts}]
    choice = named or found
    if len(choice) > 1:
        places = ", ".join(str(f.relative_to(root)) for f in choice[:5])
        what = f"{path}: images of the names in it are in several folders of {root}: {places}."
        fix = f"Call one of them like the json ({path.stem}), or let file_name name the folder."
        raise DataError(what, where=path.name, fix=fix, code="D24")
    return choice[0] if choice else None


def _folders_below(root: Path) -> list[Path]:
    folders, level = [], [root]
    for _ in range(_SEARCH_DEPTH):
        level = [child for folder in level for child in _children(folder)]
        folders += level
        if len(folders) > _SEARCH_LIMIT:
            break
    return folders


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(Path(entry.path) for entry in os.scandir(folder) if entry.is_dir())
    except OSError:
        return []


def _slashes(name: str) -> str:
    return name.replace("\\", "/")


def _tail(name: str, dropped: int) -> str:
    """Return a name without its first folders; empty if nothing would be left."""
    return "/".join(name.split("/")[dropped:])


def _is_inside(name: str) -> bool:
    return not name.startswith("/") and ".." not in name.split("/")


def _exists(folder: Path, name: str) -> bool:
    # is_file() of a name that is too long raises.
    return _is_inside(name) and os.path.isfile(folder / name)  # noqa: PTH113
