"""COCO: images, and one json of categories, images and boxes per split."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from tutelage.data.findings import Finding, gather
from tutelage.data.formats.build_index import OpenedSplit, SplitImages, assembled
from tutelage.data.formats.image_lists import named_twice
from tutelage.data.formats.pixel_boxes import PixelBox, to_rows, told_size
from tutelage.data.formats.scan import Objects, scan
from tutelage.data.formats.scan_findings import (
    OBJECT_FAULTS,
    notice,
    notice_classes,
    notice_faults,
    notice_no_box,
)
from tutelage.data.formats.yolo_labels import BadLabelLine, LabelFault
from tutelage.data.image import is_image
from tutelage.errors import DataError
from tutelage.sanitise import printable

_LOOKED_AT = 20


class CocoJson(NamedTuple):
    """What a json holds.

    Attributes:
        path: The file.
        names: Class names by ascending category id.
        images: What each usable image file's entry says: its size, and its annotations with their
            positions in the json.
        listed: The image file of every entry.
        orphans: Annotations of images that the json does not have.
        outside: Names of image files that are not below the data set's folder; never read.
    """

    path: Path
    names: tuple[str, ...]
    images: dict[str, tuple[tuple[float, float], list[tuple[int, dict[str, Any]]]]]
    listed: list[str]
    categories: dict[object, str]
    orphans: tuple[str, ...]
    outside: tuple[str, ...]


def open_coco(
    jsons: Sequence[Path],
    split: str,
    *,
    source: str,
    root: Path,
    names: Sequence[str] = (),
    bases: Sequence[Path] = (),
    single_class: bool = False,
) -> OpenedSplit:
    """Open one split of a COCO data set.

    Classes are numbered 0 … n - 1 by ascending category id, unless ``names`` gives the order. Boxes
    with ``iscrowd`` or ``ignore`` are left out.

    Args:
        jsons: Its files; their categories must be the same.
        split: Its name.
        source: What the user named.
        root: Folder of the data set.
        names: Class names, if they are given elsewhere.
        bases: More folders that file names may be relative to.
        single_class: Treat all classes as one.

    Raises:
        DataError: A json cannot be used, or none of its images is found.
    """
    files = [read_coco(path, (*bases, root)) for path in jsons]
    for file in files[1:]:
        if not names and file.names != files[0].names:
            raise DataError(
                f"{file.path.name} has other categories than {files[0].path.name}.",
                fix="Give the order in a data yaml:  names: [...]",
                code="D25",
            )
    origin = {image: file for file in files for image in file.images}
    images = sorted(origin)
    if not images:
        raise DataError(f"{split}: no images in {', '.join(map(str, jsons))}", code="D24")

    def read_json(image: str, _: str, size_wh: tuple[int, int]) -> Objects:
        file = origin[image]
        told_wh, annotations = file.images[image]
        return _objects(file.categories, told_wh, annotations, size_wh)

    label_files = [str(origin[image].path) for image in images]
    found = scan(images, jsons, label_files, read_json)
    own = tuple(names) or files[0].names
    listed = SplitImages("COCO", source, split, root, own, tuple(jsons), images, label_files)
    repeated = named_twice(image for file in files for image in file.listed)
    findings = [
        *notice(listed, found, repeated),
        *_odd_entries(files),
        *notice_faults(listed, found, OBJECT_FAULTS, "annotation"),
        *(() if single_class else notice_classes(listed, found)),
        *notice_no_box(listed, found, "An annotation has an image_id, a category_id and a bbox."),
    ]
    return assembled(listed, found, findings=findings, single_class=single_class)


def read_coco(path: Path, bases: Sequence[Path] = ()) -> CocoJson:
    """Read a COCO json.

    Raises:
        DataError: It cannot be read, or it is no COCO json; file and place are named.
    """
    document = _load(path)
    categories = _categories(path, _entries(path, document, "categories"))
    entries = _entries(path, document, "images")
    names = [entry.get("file_name") for entry in entries]
    wrong = next((i for i, name in enumerate(names) if not isinstance(name, str)), None)
    if wrong is not None:
        raise DataError(f"{path}: images[{wrong}] has no file_name.", where=path.name, code="D25")
    places, outside = _located(path, cast("list[str]", names), bases)
    images: dict[str, tuple[tuple[float, float], list[tuple[int, dict[str, Any]]]]] = {}
    of_id: dict[object, list[tuple[int, dict[str, Any]]]] = {}
    for entry, place in zip(entries, places, strict=True):
        told = (_number(entry.get("width", 0)), _number(entry.get("height", 0)))
        annotations: list[tuple[int, dict[str, Any]]] = []
        if place:
            annotations = images.setdefault(place, (told, annotations))[1]
        if _key(entry.get("id")) is not None:
            of_id.setdefault(_key(entry.get("id")), annotations)
    orphans: list[str] = []
    for number, annotation in enumerate(_entries(path, document, "annotations", needed=False)):
        owner = of_id.get(_key(annotation.get("image_id")))
        if owner is None:
            orphans.append(f"{path.name} annotations[{number}]")
        else:
            owner.append((number, annotation))
    return CocoJson(
        path,
        tuple(categories.values()),
        images,
        [place for place in places if place],
        categories,
        tuple(orphans),
        tuple(outside),
    )


def _load(path: Path) -> Mapping[str, object]:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path} does not exist.", code="D22") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", code="D22") from error
    except json.JSONDecodeError as error:
        where = f"{path.name}:{error.lineno}:{error.colno}"
        raise DataError(
            f"{path} is not valid json: {error.msg}", where=where, code="D25"
        ) from error
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise DataError(
            f"{path} is not valid json: {error}", where=path.name, code="D25"
        ) from error
    if not isinstance(document, dict) or not {"images", "categories"} <= document.keys():
        raise DataError(
            f"{path} is not a COCO json: expected the keys images, annotations and categories.",
            where=path.name,
            code="D25",
        )
    return cast("dict[str, object]", document)


def _entries(
    path: Path, document: Mapping[str, object], key: str, *, needed: bool = True
) -> list[dict[str, Any]]:
    found = document.get(key, None if needed else [])
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise DataError(f"{path}: {key} must be a list of objects.", where=path.name, code="D25")
    return cast("list[dict[str, Any]]", found)


def _categories(path: Path, entries: Sequence[Mapping[str, Any]]) -> dict[object, str]:
    """Return the names by id, in ascending order of the ids."""
    found: dict[object, str] = {}
    for number, entry in enumerate(entries):
        key, name = entry.get("id"), entry.get("name")
        if not isinstance(key, int) or not isinstance(name, str) or key in found:
            raise DataError(
                f"{path}: categories[{number}] needs a name and an id of its own.",
                where=path.name,
                code="D25",
            )
        found[key] = printable(name)
    ordered = dict(sorted(found.items(), key=lambda item: cast("int", item[0])))
    twice = named_twice(ordered.values())
    if twice or not ordered:
        what = f"two categories are called {twice[0]!r}" if twice else "there is no category"
        raise DataError(f"{path}: {what}.", where=path.name, code="D25")
    return ordered


def _located(
    path: Path, names: Sequence[str], bases: Sequence[Path]
) -> tuple[list[str], list[str]]:
    """Return the image file of each name, "" for one that leads outside, and the latter's names."""
    home = path.parent
    above = home.parent if home.name == "annotations" else home
    tag = path.stem.partition("_")[2]
    folders = [home, home / "images", above, above / "images", *bases]
    folders += [above / tag, above / "images" / tag] if tag else []
    some = names[:: max(len(names) // _LOOKED_AT, 1)]
    base = next((f for f in folders if any(_exists(f, name) for name in some)), home)
    allowed = tuple(f"{folder}{os.sep}" for folder in (base, above))
    places: list[str] = []
    outside: list[str] = []
    for name in names:
        place = os.path.normpath(f"{base}{os.sep}{_slashes(name)}")
        safe = place.startswith(allowed) and not _slashes(name).startswith("/")
        if not (safe and is_image(place) and name.isprintable()):
            outside.append(printable(name[:80]))
            place = ""
        places.append(place)
    return places, outside


def _slashes(name: str) -> str:
    return name.replace("\\", "/")


def _exists(folder: Path, name: str) -> bool:
    relative = _slashes(name)
    if not relative.isprintable() or relative.startswith("/") or ".." in relative.split("/"):
        return False
    return os.path.isfile(folder / relative)  # noqa: PTH113  (a name that is too long is no error)


def _objects(
    categories: Mapping[object, str],
    told_wh: tuple[float, float],
    annotations: Sequence[tuple[int, Mapping[str, Any]]],
    size_wh: tuple[int, int],
) -> Objects:
    bad = told_size(annotations[0][0] if annotations else 0, told_wh, size_wh)
    boxes: list[PixelBox] = []
    for number, annotation in annotations:
        name = categories.get(_key(annotation.get("category_id")))
        box = annotation.get("bbox")
        text = printable(f"{name or annotation.get('category_id')!s} {box}"[:80])
        if annotation.get("iscrowd") or annotation.get("ignore"):
            bad.append(BadLabelLine(number, LabelFault.IGNORED, text))
        elif name is None:
            bad.append(BadLabelLine(number, LabelFault.CLASS, text))
        elif not isinstance(box, list) or len(box) != len("xywh"):
            bad.append(BadLabelLine(number, LabelFault.SHAPE, text))
        else:
            x, y, width, height = map(_number, box)
            boxes.append(PixelBox(name, (x, y, x + width, y + height), number, text))
    rows, more = to_rows(boxes, size_wh)
    return rows, [*bad, *more]


def _number(value: object) -> float:
    try:
        return float(value) if isinstance(value, (int, float)) else float("nan")
    except OverflowError:
        return float("nan")


def _key(value: object) -> object:
    return value if isinstance(value, (int, str)) else None


def _odd_entries(files: Sequence[CocoJson]) -> Iterator[Finding]:
    outside = [f"{file.path.name} {name!r}" for file in files for name in file.outside]
    if outside:
        what = (
            "File names that are not those of images below the data set's folder and are not read"
        )
        fix = "Let file_name be relative to the folder of the images."
        yield gather("image-outside", "error", what, outside, len(outside), fix)
    orphans = [place for file in files for place in file.orphans]
    if orphans:
        what = "Annotations of images that the json does not have"
        yield gather("label-orphan", "warning", what, orphans, len(orphans))
