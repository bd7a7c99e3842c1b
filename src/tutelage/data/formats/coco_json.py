"""The content of a COCO json: categories, images and annotations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from tutelage.data.formats.coco_images import FoundImages, find_images
from tutelage.data.formats.image_lists import repeated_items
from tutelage.errors import DataError
from tutelage.sanitise import printable

Id = int | str
T = TypeVar("T")
Annotations = list[tuple[int, dict[str, Any]]]


class CocoImage(NamedTuple):
    """An image of a COCO json.

    Attributes:
        id: Its id in the json; None if it has none.
        stated_wh: Width and height as the json states them; 0: not stated.
        annotations: Its annotations with their positions in the json.
    """

    id: Id | None
    stated_wh: tuple[float, float]
    annotations: Annotations


class CocoJson(NamedTuple):
    """The content of a COCO json.

    Attributes:
        path: The file.
        categories: Class names by category id, ascending.
        root_category: Name of the category without annotations that only groups the others, and is
            left out, as Roboflow writes it; empty if there is none.
        images: By image file.
        found: Where the image files are.
        orphans: Places of annotations whose image the json does not have.
    """

    path: Path
    categories: dict[Id, str]
    root_category: str
    images: dict[str, CocoImage]
    found: FoundImages
    orphans: list[str]

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by ascending category id."""
        return tuple(self.categories.values())

    def class_name(self, annotation: Mapping[str, Any]) -> str | None:
        """Return the class of an annotation, whose ``category_id`` may be a category's name."""
        key = json_id(annotation.get("category_id"))
        if key is None:
            return None
        name = _lookup(self.categories, key)
        return str(key) if name is None and key in self.categories.values() else name


def read_coco(path: Path, bases: Sequence[Path] = ()) -> CocoJson:
    """Read a COCO json.

    Ids may be whole numbers, also as floats or text. A category may be a text alone.

    Args:
        path: The file.
        bases: More folders that file names may be relative to.

    Raises:
        DataError: It cannot be read, it is no COCO json, or none of its images is found; file and
            place are named.
    """
    document = _load(path)
    entries = _entries(path, document, "images")
    annotations = _entries(path, document, "annotations", needed=False)
    categories, root_category = _categories(path, document, annotations)
    names = [_file_name(entry) for entry in entries]
    if "" in names:
        raise _invalid(path, f"images[{names.index('')}] has no file_name.")
    found = find_images(path, names, bases)
    images: dict[str, CocoImage] = {}
    annotations_of: dict[Id, Annotations] = {}
    for entry, file in zip(entries, found.files, strict=True):
        key = json_id(entry.get("id"))
        stated_wh = (json_number(entry.get("width", 0)), json_number(entry.get("height", 0)))
        image = CocoImage(key, stated_wh, [])
        if file:
            image = images.setdefault(file, image)
        if key is not None:
            annotations_of.setdefault(key, image.annotations)
    orphans: list[str] = []
    for number, annotation in enumerate(annotations):
        key = json_id(annotation.get("image_id"))
        siblings = None if key is None else _lookup(annotations_of, key)
        if siblings is None:
            orphans.append(f"{path.name} annotations[{number}]")
        else:
            siblings.append((number, annotation))
    return CocoJson(path, categories, root_category, images, found, orphans)


def json_id(value: object) -> Id | None:
    """Return an id: whole floats as int, text as it is; None for anything else."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, (int, str)) else None


def json_number(value: object) -> float:
    """Return a number of a json as float; NaN for anything else."""
    try:
        return float(value) if isinstance(value, (int, float)) else float("nan")
    except OverflowError:
        return float("nan")


def _lookup(by_id: Mapping[Id, T], key: Id) -> T | None:
    """Return the value of an id that one place may write as a number and another as text."""
    if key in by_id:
        return by_id[key]
    if isinstance(key, str):
        return by_id.get(int(key)) if key.isascii() and key.isdigit() and len(key) < 20 else None
    return by_id.get(str(key))


def _file_name(entry: Mapping[str, Any]) -> str:
    """Return the name of an image; LVIS gives an address, whose end is that of COCO's file."""
    for name in (entry.get("file_name"), entry.get("coco_url")):
        if isinstance(name, str) and name:
            return "/".join(name.split("/")[-2:]) if name.startswith(("http:", "https:")) else name
    return ""


def _invalid(path: Path, what: str) -> DataError:
    return DataError(f"{path}: {what}", where=path.name, code="D25")


def _load(path: Path) -> Mapping[str, object]:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path} does not exist.", code="D22") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", code="D22") from error
    except json.JSONDecodeError as error:
        where = f"{path.name}:{error.lineno}:{error.colno}"
        what = f"{path} is not valid json: {error.msg}"
        raise DataError(what, where=where, code="D25") from error
    except (RecursionError, ValueError) as error:  # ValueError: also no UTF-8
        what = f"{path} is not valid json: {error}"
        raise DataError(what, where=path.name, code="D25") from error
    if not isinstance(document, dict) or not {"images", "categories"} <= document.keys():
        what = f"{path} is not a COCO json: expected the keys images, annotations and categories."
        raise DataError(what, where=path.name, code="D25")
    return cast("dict[str, object]", document)


def _entries(
    path: Path, document: Mapping[str, object], key: str, *, needed: bool = True
) -> list[dict[str, Any]]:
    entries = document.get(key, None if needed else [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _invalid(path, f"{key} must be a list of objects.")
    return cast("list[dict[str, Any]]", entries)


def _categories(
    path: Path, document: Mapping[str, object], annotations: Sequence[Mapping[str, Any]]
) -> tuple[dict[Id, str], str]:
    """Return the names by id, in ascending order of the ids, and that of a root without objects."""
    listed = document["categories"]
    if isinstance(listed, list) and listed and all(isinstance(each, str) for each in listed):
        names = cast("list[str]", listed)
        document = {"categories": [{"id": name, "name": name} for name in names]}
    entries: dict[Id, Mapping[str, Any]] = {}
    for number, entry in enumerate(_entries(path, document, "categories")):
        key, name = json_id(entry.get("id")), entry.get("name")
        if key is None or not isinstance(name, str) or key in entries:
            raise _invalid(path, f"categories[{number}] needs a name and an id of its own.")
        entries[key] = entry
    if not isinstance(listed, list) or not isinstance(listed[0] if listed else None, str):
        entries = dict(sorted(entries.items(), key=_order))
    root = _root_category(entries, annotations)
    names_of = {key: printable(entry["name"]) for key, entry in entries.items() if key != root}
    repeated = repeated_items(names_of.values())
    if repeated:
        raise _invalid(path, f"two categories are called {repeated[0]!r}.")
    if not names_of:
        raise _invalid(path, "there is no category.")
    return names_of, "" if root is None else printable(entries[root]["name"])


def _order(item: tuple[Id, object]) -> tuple[bool, int, str]:
    key = item[0]
    numeric = isinstance(key, int) or (key.isascii() and key.isdigit() and len(key) < 20)
    return not numeric, int(key) if numeric else 0, str(key)


def _root_category(
    entries: Mapping[Id, Mapping[str, Any]], annotations: Sequence[Mapping[str, Any]]
) -> Id | None:
    """Return the first category if it only groups all others and no annotation has it."""
    if len(entries) < 2:
        return None
    root, *others = entries
    name = entries[root]["name"]
    used = any(json_id(each.get("category_id")) in (root, str(root)) for each in annotations)
    return None if used or any(entries[o].get("supercategory") != name for o in others) else root
