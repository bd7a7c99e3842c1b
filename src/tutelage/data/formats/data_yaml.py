"""The data yaml: class names, and where the images of a split are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple, cast

import yaml

from tutelage.config.yaml_reader import UniqueKeys, load_yaml, read_yaml, yaml_problem
from tutelage.data.formats.image_lists import exists, images_of, named_twice, normal
from tutelage.data.image import SUFFIXES, is_image
from tutelage.errors import DataError, MissingSplitError, nearest

_SEARCH_DEPTH, _SEARCH_LIMIT = 3, 2000


EXAMPLES = 100  # names that an error writes out, to be pasted


class SplitEntry(NamedTuple):
    """What a data yaml says of one split, before any image is looked for.

    Attributes:
        path: The yaml.
        names: Class names; empty if they may come from the jsons that are named for the split.
        root: The folder named by ``path``, else the yaml's own.
        bases: The folders that paths in the yaml may be relative to, in this order.
        sources: The folders, lists and jsons that were named for the split.
    """

    path: Path
    names: tuple[str, ...]
    root: Path
    bases: tuple[Path, ...]
    sources: tuple[Path, ...]


class SplitDescription(NamedTuple):
    """One split of a data yaml.

    Attributes:
        path: The yaml.
        names: Class names.
        root: The folder named by ``path``, else the yaml's own.
        sources: The folders and lists that were named for the split.
        images: The absolute paths of the image files, sorted, each once. Strings, since making
            hundreds of thousands of path objects takes longer than looking at the files.
        repeated: Images that were named more than once.
    """

    path: Path
    names: tuple[str, ...]
    root: Path
    sources: tuple[Path, ...]
    images: tuple[str, ...]
    repeated: tuple[str, ...]


def read_named(path: Path, split: str) -> SplitEntry:
    """Read a data yaml with ``path``, ``train``, ``val``, ``test``, ``names`` and ``nc``.

    ``path`` is relative to the yaml; a split is a folder, a text file with one image per line, a
    COCO json or a list of these, relative to ``path``, else to the yaml, else to the working
    directory. Other keys are ignored; nothing is ever downloaded or executed.

    Raises:
        DataError: The yaml or something that it names cannot be used.
    """
    document = _load(path)
    given = document.get(split)
    entries = cast("list[object]", given) if isinstance(given, list) else [given]
    self_named = all(str(entry).lower().endswith(".json") for entry in entries)
    names = () if self_named and "names" not in document else _names(path, document)
    home = normal(path.parent)
    root = normal(home / str(document.get("path") or ""))
    bases = tuple(dict.fromkeys((root, home, normal(Path()))))
    return SplitEntry(path, names, root, bases, _locate(path, split, document, bases))


def describe(named: SplitEntry, split: str) -> SplitDescription:
    """List the images of a split.

    Raises:
        DataError: There are none.
    """
    images: list[str] = []
    for source in named.sources:
        images += images_of(source, named.bases)
    unique = sorted(set(images))
    if not unique:
        wanted = " ".join(suffix.removeprefix(".") for suffix in SUFFIXES)
        raise DataError(
            f"{split}: no images in {', '.join(map(str, named.sources))}",
            where=named.path.name,
            fix=f"Images are files ending in: {wanted}.",
            code="D24",
        )
    repeated = named_twice(images) if len(unique) < len(images) else ()
    return SplitDescription(
        named.path, named.names, named.root, named.sources, tuple(unique), repeated
    )


def read_description(path: Path, split: str) -> SplitDescription:
    """Read a data yaml and list the images of a split; see :func:`read_named`."""
    return describe(read_named(path, split), split)


def _load(path: Path) -> Mapping[str, object]:
    try:
        document = load_yaml(read_yaml(path), UniqueKeys)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist.", fix=_neighbour(path), code="D22") from None
    except IsADirectoryError:
        raise DataError(
            f"{path} is a folder, not a data yaml.", fix=_yaml_inside(path), code="D22"
        ) from None
    except UnicodeDecodeError:
        raise DataError(
            f"{path} is not a text file, so it cannot be a data yaml.", code="D01"
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", code="D22") from error
    except (yaml.YAMLError, RecursionError) as error:
        problem, line = yaml_problem(error)
        where = f"{path.name}:{line}" if line else path.name
        raise DataError(f"{path} is not valid yaml: {problem}", where=where, code="D01") from error
    if not isinstance(document, dict):
        got = "nothing" if document is None else f"a {type(document).__name__}"
        raise DataError(
            f"{path.name} is not a data yaml: expected keys such as train, val and names, "
            f"but it holds {got}.",
            code="D01",
        )
    return cast("dict[str, object]", document)


def _names(path: Path, document: Mapping[str, object]) -> tuple[str, ...]:
    given = document.get("names")
    if given is None:
        count = document.get("nc")
        names = ["cat", "dog"]
        if isinstance(count, int) and count <= EXAMPLES:
            names = [f"class{i}" for i in range(count)]
        found = ", ".join(map(str, document)) or "nothing"
        raise DataError(
            f"{path.name} has no 'names' (found: {found}).",
            fix=f"Add for example  names: [{', '.join(names)}]",
            code="D01",
        )
    names = _as_list(path, given)
    wrong = [n for n in names if isinstance(n, bool) or not isinstance(n, (str, int, float))]
    if wrong:
        raise DataError(
            f"{path.name}: names must be text, but got {wrong[0]!r}.",
            fix="Put such a name in quotes (yaml reads yes, no, on, off as true or false).",
            code="D01",
        )
    texts = tuple(str(name) for name in names)
    if not texts:
        raise DataError(
            f"{path.name}: 'names' is empty.", fix="Name at least one class.", code="D01"
        )
    twice = sorted({name for name in texts if texts.count(name) > 1})
    if twice:
        raise DataError(
            f"{path.name}: class names must differ, but {twice[0]!r} appears twice.", code="D01"
        )
    count = document.get("nc")
    if count is not None and count != len(texts):
        raise DataError(
            f"{path.name}: nc is {count!r}, but there are {len(texts)} names.",
            fix="Correct one of them; nc may be left out.",
            code="D01",
        )
    return texts


def _as_list(path: Path, given: object) -> list[object]:
    if isinstance(given, list):
        return list(cast("list[object]", given))
    if isinstance(given, dict):
        numbered = {str(key): name for key, name in cast("dict[object, object]", given).items()}
        wanted = [str(number) for number in range(len(numbered))]
        missing = [number for number in wanted if number not in numbered]
        if missing:
            raise DataError(
                f"{path.name}: names must be numbered 0…{len(wanted) - 1} without a gap, "
                f"but {missing[0]} is missing.",
                code="D01",
            )
        return [numbered[number] for number in wanted]
    raise DataError(
        f"{path.name}: names must be a list or a map, but got {given!r}.",
        fix="Write for example  names: [cat, dog]",
        code="D01",
    )


def _locate(
    path: Path, split: str, document: Mapping[str, object], bases: Sequence[Path]
) -> tuple[Path, ...]:
    given = document.get(split)
    if given is None:
        raise MissingSplitError(
            f"{path.name} has no '{split}' (found: {', '.join(map(str, document)) or 'nothing'}).",
            fix=f"Add for example  {split}: images/{split}",
        )
    values = cast("list[object]", given) if isinstance(given, list) else [given]
    if not all(isinstance(value, str) for value in values):
        raise DataError(
            f"{path.name}: {split} must be a folder, a text file or a list of these, "
            f"but got {given!r}.",
            fix=f"Write for example  {split}: images/{split}",
            code="D01",
        )
    found: list[Path] = []
    missing: list[str] = []
    hints: list[str] = []
    for value in map(str, values):
        places = [base / value for base in bases]
        hit = next((place for place in places if exists(place)), None)
        if hit is None:
            looked = ", ".join(map(str, bases)) if not Path(value).is_absolute() else value
            missing.append(f"{split}: {value} does not exist (looked in {looked})")
            hints += _nearest_path(value, bases)
        elif hit.is_file() and is_image(hit.name):
            missing.append(f"{split}: {value} is an image; expected a folder or a text file")
        else:
            found.append(normal(hit))
    if missing:
        raise DataError(
            "\n".join(missing), where=path.name, fix="\n".join(dict.fromkeys(hints)), code="D01"
        )
    return tuple(found)


def _neighbour(path: Path) -> str:
    built_in = ["digits", "digits:easy"]
    files = [place.name for place in _entries(path.parent) if place.is_file()]
    return nearest(path.name, files) or nearest(str(path), built_in)


def _yaml_inside(folder: Path) -> str:
    found = sorted((*folder.glob("*.yaml"), *folder.glob("*.yml")))
    return f"Use  --data {found[0]}" if found else "It holds no .yaml file."


def _nearest_path(value: str, bases: Sequence[Path]) -> list[str]:
    wanted = "/".join(part for part in Path(value).parts if part not in ("..", os.sep))
    for base in bases:
        names = [place.relative_to(base).as_posix() for place in _below(base)]
        found = get_close_matches(wanted, names, n=1, cutoff=0.6)
        if found:
            return [f"Nearest: {found[0]}"]
    return []


def _below(base: Path) -> list[Path]:
    """Return folders and lists under ``base``, nearest first, as far as a look takes no time."""
    found, level = [], [base]
    for _ in range(_SEARCH_DEPTH):
        inner: list[Path] = []
        for folder in level:
            for place in _entries(folder):
                if place.is_dir():
                    inner.append(place)
                elif place.suffix == ".txt":
                    found.append(place)
                if len(found) + len(inner) > _SEARCH_LIMIT:
                    return found + inner
        found += inner
        level = inner
    return found


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
