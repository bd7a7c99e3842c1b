"""The image files of a folder, of a text file or of an image set of Pascal VOC."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tutelage.data.image import is_image
from tutelage.errors import DataError

_SETS, _IMAGES = "ImageSets", "JPEGImages"


def images_of(source: Path, bases: Sequence[Path]) -> Iterable[str]:
    """Return the images that a source of a split names.

    Args:
        source: A folder, a text file with one image per line, or an image set of Pascal VOC.
        bases: What relative paths in a text file may refer to.

    Raises:
        DataError: The list cannot be read.
    """
    if source.is_dir():
        inner = source / _IMAGES
        return images_in(inner if inner.is_dir() else source)
    lines = _lines(source)
    named = [line for line in lines if is_image(line)]
    if _SETS in source.parts and not named:
        return _image_set(source, lines)
    return _images_listed(source, named, bases)


def images_in(folder: Path) -> Iterator[str]:
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


def exists(path: str | Path) -> bool:
    """Say whether there is such a file or folder; no file has a name that no file can have."""
    return os.path.exists(path)  # noqa: PTH110  (Path.exists raises if a name is too long)


def names_in(folder: str | Path) -> list[str]:
    """Return the names in a folder; none if it cannot be listed, or is none."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208  (names, not paths)
    except (OSError, ValueError):  # a NUL in its name
        return []


def normal(path: Path) -> Path:
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


def named_twice(images: Iterable[str]) -> tuple[str, ...]:
    """Return what occurs more than once."""
    return tuple(image for image, count in Counter(images).items() if count > 1)


def _lines(source: Path) -> list[str]:
    try:
        text = source.read_text("utf-8-sig").replace("\0", "?")  # no path may hold a NUL
        return [line.strip() for line in text.splitlines()]
    except UnicodeDecodeError as error:
        raise DataError(
            f"{source} is not a list of image files: it is no text in UTF-8.",
            fix="Save it as UTF-8.",
            code="D24",
        ) from error
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror}.", code="D24") from error


def _images_listed(source: Path, named: Sequence[str], bases: Sequence[Path]) -> list[str]:
    loose = next((line for line in named if not line.startswith("./")), None)
    places = (*bases, source.parent)
    # One base for the whole list: a look-up per line would cost four stats for each of its images.
    base = next((b for b in places if loose is not None and exists(b / loose)), bases[0])
    own, other = f"{source.parent}{os.sep}", f"{base}{os.sep}"
    return [
        os.path.normpath(
            line if line.startswith(os.sep) else (own if line[:2] == "./" else other) + line
        )
        for line in named
    ]


def _image_set(source: Path, lines: Sequence[str]) -> list[str]:
    """Return the images whose stems a set lists; those that a class list marks -1 are left out."""
    home = next(place for place in source.parents if place.name == _SETS).parent / _IMAGES
    known = {image.rpartition(".")[0]: image for image in images_in(home)} if home.is_dir() else {}
    found: list[str] = []
    for number, line in enumerate(lines, 1):
        stem, *marks = line.split() or [""]
        if not stem or marks == ["-1"]:
            continue
        place = os.path.normpath(f"{home}{os.sep}{stem}")
        if not place.startswith(f"{home}{os.sep}"):
            raise DataError(f"{source}:{number} leads out of {home}: {stem!r}", code="D24")
        found.append(known.get(place, f"{place}.jpg"))
    return found
