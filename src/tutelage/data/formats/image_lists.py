"""Lists the image files of a folder, a text file or an image set of Pascal VOC."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tutelage.data.image import is_image
from tutelage.errors import DataError

_SETS, _IMAGES = "ImageSets", "JPEGImages"


class ImageList(NamedTuple):
    """The images of one split.

    Attributes:
        images: Absolute paths of the image files, sorted, without duplicates. Strings, because
            making hundreds of thousands of path objects is slower than reading the folders.
        sources: The folders, lists or image sets that they come from.
        repeated: Images that are listed more than once.
    """

    images: Sequence[str]
    sources: tuple[Path, ...]
    repeated: tuple[str, ...] = ()


def list_images(source: Path, bases: Sequence[Path]) -> Iterable[str]:
    """Return the images of one source of a split.

    Args:
        source: A folder, a text file with one image per line, or an image set of Pascal VOC.
        bases: Folders that paths in a text file may be relative to.

    Raises:
        DataError: The list cannot be read.
    """
    if source.is_dir():
        images = source / _IMAGES
        return walk_images(images if images.is_dir() else source)
    lines = _read_lines(source)
    paths = [line for line in lines if is_image(line)]
    if _SETS in source.parts and not paths:
        return _resolve_image_set(source, lines)
    return _resolve_paths(source, paths, bases)


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


def _resolve_paths(source: Path, paths: Sequence[str], bases: Sequence[Path]) -> list[str]:
    relative = next((path for path in paths if not path.startswith("./")), None)
    places = (*bases, source.parent)
    # One base for the whole list: a look-up per line would cost four stats for each of its images.
    base = next((b for b in places if relative and path_exists(b / relative)), bases[0])
    own, other = f"{source.parent}{os.sep}", f"{base}{os.sep}"
    return [
        os.path.normpath(
            path if path.startswith(os.sep) else (own if path[:2] == "./" else other) + path
        )
        for path in paths
    ]


def _resolve_image_set(source: Path, lines: Sequence[str]) -> list[str]:
    """Return the images whose stems an image set lists, except those marked -1 for a class."""
    folder = next(parent for parent in source.parents if parent.name == _SETS).parent / _IMAGES
    files = walk_images(folder) if folder.is_dir() else ()
    by_stem = {image.rpartition(".")[0]: image for image in files}
    images: list[str] = []
    for number, line in enumerate(lines, 1):
        stem, *marks = line.split() or [""]
        if not stem or marks == ["-1"]:
            continue
        path = os.path.normpath(f"{folder}{os.sep}{stem}")
        if not path.startswith(f"{folder}{os.sep}"):
            raise DataError(f"{source}:{number} leads out of {folder}: {stem!r}", code="D24")
        images.append(by_stem.get(path, f"{path}.jpg"))
    return images
