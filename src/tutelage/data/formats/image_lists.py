"""Lists the image files of a folder, a text file or an image set of Pascal VOC."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from tutelage.data.findings import Finding, summarise
from tutelage.data.image import SUFFIXES, is_image
from tutelage.errors import DataError
from tutelage.sanitise import printable

_SETS, _IMAGES = "ImageSets", "JPEGImages"
_MARKS = ("-1", "0", "1")  # of an image set for one class: without it, difficult, with it
_SUFFIX = "|".join(map(re.escape, SUFFIXES))
_PAIR = re.compile(rf"(.+(?:{_SUFFIX}))\s+(\S.*\.xml)", re.IGNORECASE)
_TRIES = 20  # entries of one folder of a list that are looked for elsewhere


class ImageList(NamedTuple):
    """The images of one split.

    Attributes:
        images: Absolute paths of the image files, sorted, without duplicates. Strings, because
            making hundreds of thousands of path objects is slower than reading the folders.
        sources: The folders, lists or image sets that they come from.
        repeated: Images that are listed more than once.
        xml: The XML files that lists name beside their images, by image.
        findings: What was read in another way than written, or not at all.
    """

    images: Sequence[str]
    sources: tuple[Path, ...]
    repeated: tuple[str, ...] = ()
    xml: Mapping[str, str] = MappingProxyType({})
    findings: tuple[Finding, ...] = ()


def list_images(sources: Sequence[Path], bases: Sequence[Path]) -> ImageList:
    """List the images of a split.

    Args:
        sources: Folders, text files with one image per line, image sets of Pascal VOC.
        bases: Folders that paths in a text file may be relative to; first that of the data set.

    Raises:
        DataError: A list cannot be read.
    """
    images: list[str] = []
    xml: dict[str, str] = {}
    findings: list[Finding] = []
    for source in sources:
        if source.is_dir():
            folder = source / _IMAGES
            images += walk_images(folder if folder.is_dir() else source)
        else:
            images += _read_list(source, bases, xml, findings)
    unique = tuple(sorted(set(images)))
    repeated = repeated_items(images) if len(unique) < len(images) else ()
    return ImageList(unique, tuple(sources), repeated, xml, tuple(findings))


def walk_images(folder: Path) -> Iterator[str]:
    """Yield all image files below a folder, links followed, hidden files left out."""
    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        state = Path(place).stat()
        if (state.st_dev, state.st_ino) in seen:  # a link back to a folder above
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        for name in files:
            if not name.startswith(".") and is_image(name):
                yield f"{place}{os.sep}{name}"


def path_exists(path: str | Path) -> bool:
    """Return whether there is such a file or folder; False for names that no file can have."""
    return os.path.exists(path)  # noqa: PTH110  (Path.exists raises if a name is too long)


def list_names(folder: str | Path) -> list[str]:
    """Return the sorted names in a folder; empty if it cannot be listed."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208  (names, not paths)
    except (OSError, ValueError):  # a NUL in its name
        return []


def absolute_path(path: Path) -> Path:
    """Return an absolute path without ``..``, links kept."""
    # Not resolve(): a linked folder "images" must keep its name, by which labels are found.
    with contextlib.suppress(RuntimeError):  # no such user
        path = path.expanduser()
    clean = os.path.normpath(Path.cwd() / path).replace("\0", "?")
    try:
        os.fsencode(clean)
    except UnicodeEncodeError:  # half of a pair of UTF-16, which no name holds
        clean = clean.encode("utf-8", "replace").decode()
    return Path(clean)


def repeated_items(items: Iterable[str]) -> tuple[str, ...]:
    """Return the items that occur more than once."""
    return tuple(item for item, count in Counter(items).items() if count > 1)


def _read_lines(source: Path) -> list[str]:
    try:
        text = source.read_text("utf-8-sig").replace("\0", "?")  # no path may hold a NUL
        return [line.strip() for line in text.splitlines()]
    except UnicodeDecodeError as error:
        what = f"{source} is not a list of image files: it is no text in UTF-8."
        fix = "Save it as UTF-8."
        raise DataError(what, fix=fix, code="D24") from error
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror}.", code="D24") from error


def _read_list(
    source: Path, bases: Sequence[Path], xml: dict[str, str], findings: list[Finding]
) -> list[str]:
    """Return the images of a list; adds the XML files beside them, and findings."""
    lines = _read_lines(source)
    pairs: list[tuple[str, str]] = []
    others: list[str] = []
    for number, line in enumerate(lines, 1):
        entry = line.strip('"')
        if is_image(entry):
            pairs.append((entry, ""))
        elif pair := _PAIR.fullmatch(line):
            pairs.append((pair[1], pair[2]))
        elif line and not line.startswith("#"):
            others.append(f"{source.name}:{number} {printable(line[:80])!r}")
    places = (*bases, source.parent)
    if _SETS in source.parts:
        kit = next(parent for parent in source.parents if parent.name == _SETS).parent
        if not pairs:
            return _resolve_image_set(source, lines, kit / _IMAGES)
        places = (*places, kit, kit / _IMAGES)
    if others:
        what = "Lines of a list that do not end in the suffix of an image and are left out"
        findings.append(summarise("list-line", "warning", what, others, len(others)))
    images = _resolve_paths(source, [image for image, _ in pairs], places, findings)
    files = _resolve_paths(source, [file for _, file in pairs if file], places, [])
    named = [image for image, (_, file) in zip(images, pairs, strict=True) if file]
    xml.update(zip(named, files, strict=True))
    return images


def _resolve_paths(
    source: Path, paths: Sequence[str], places: Sequence[Path], findings: list[Finding]
) -> list[str]:
    relative = next((path for path in paths if not path.startswith("./")), None)
    # One base for the whole list: a look-up per line would cost four stats for each of its images.
    base = next((b for b in places if relative and path_exists(b / relative)), places[0])
    own, other = f"{source.parent}{os.sep}", f"{base}{os.sep}"
    resolved = [
        os.path.normpath(
            path if path.startswith(os.sep) else (own if path[:2] == "./" else other) + path
        )
        for path in paths
    ]
    if any(map(path_exists, resolved)):
        return resolved
    found = _find_tails(paths, (places[0], source.parent))
    moved = [f"{a!r} as {b}" for a, b in zip(paths, found, strict=True) if b]
    if moved:
        what = f"Entries of {source.name} that do not exist as written, but by their last part"
        findings.append(summarise("path-elsewhere", "info", what, moved, len(moved)))
    return [new or old for new, old in zip(found, resolved, strict=True)]


def _find_tails(paths: Sequence[str], places: Sequence[Path]) -> list[str]:
    """Return where files of another folder, machine or system lie below ``places``; "" if not."""
    folders: dict[str, str] = {}  # as written → as it is here
    tries: Counter[str] = Counter()
    entries = [tail_parts(path) or [""] for path in paths]
    for *written, name in entries:
        folder = "/".join(written)
        if folder not in folders and tries[folder] < _TRIES:
            tries[folder] += 1
            place = find_tail([*written, name], places)
            if place is not None:
                folders[folder] = str(place.parent)
    places_of = [folders.get("/".join(written), "") for *written, _ in entries]
    return [
        f"{folder}{os.sep}{parts[-1]}" if folder else ""
        for folder, parts in zip(places_of, entries, strict=True)
    ]


def tail_parts(path: str) -> list[str]:
    """Return the parts of a path of any system, without drive, root and leading dots."""
    parts = re.sub(r"^[A-Za-z]:", "", path.replace("\\", "/")).split("/")
    parts = [part for part in parts if part not in ("", ".")]
    while parts and parts[0] == "..":
        parts = parts[1:]
    return parts


def find_tail(parts: Sequence[str], places: Sequence[Path], *, least: int = 1) -> Path | None:
    """Return the longest tail of a path, of ``least`` parts or more, that exists below a place."""
    if ".." in parts:
        return None
    tails = (parts[start:] for start in range(len(parts) - least + 1))
    candidates = (place.joinpath(*tail) for tail in tails for place in places)
    return next((path for path in candidates if path_exists(path)), None)


def _resolve_image_set(source: Path, lines: Sequence[str], folder: Path) -> list[str]:
    """Return the images whose stems an image set lists, except those marked -1 for a class."""
    files = [*walk_images(folder)] if folder.is_dir() else []
    known = {image.rpartition(".")[0]: image for image in files}
    images: list[str] = []
    for number, line in enumerate(lines, 1):
        stem, *mark = line.rsplit(None, 1)
        if mark and (mark[0] not in _MARKS or f"{folder}{os.sep}{line}" in known):
            stem, mark = line, []
        if not stem or mark == ["-1"]:
            continue
        stem = stem.strip('"')
        path = os.path.normpath(f"{folder}{os.sep}{stem}")
        if not path.startswith(f"{folder}{os.sep}"):
            raise DataError(f"{source}:{number} leads out of {folder}: {stem!r}", code="D24")
        images.append(known.get(path) or (path if is_image(path) else f"{path}.jpg"))
    return images
