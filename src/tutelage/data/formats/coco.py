"""COCO: images, and one json of categories, images and boxes per split."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

from tutelage.data.findings import Finding, summarise
from tutelage.data.formats.build_index import OpenedSplit, build_split
from tutelage.data.formats.chosen_classes import choose_classes
from tutelage.data.formats.image_lists import ImageList, repeated_items
from tutelage.data.formats.pixel_boxes import PixelBox, check_image_size, normalise_boxes
from tutelage.data.formats.scan import Objects, SplitRequest, scan_images
from tutelage.data.formats.scan_findings import OBJECT_FAULTS
from tutelage.data.formats.yolo_labels import BadLabelLine, LabelFault
from tutelage.data.image import is_image
from tutelage.errors import DataError
from tutelage.sanitise import printable

_SAMPLE = 20  # file names tried to find the folder of the images
_ImageEntry = tuple[tuple[float, float], list[tuple[int, dict[str, Any]]]]


class CocoJson(NamedTuple):
    """The content of a COCO json.

    Attributes:
        path: The file.
        categories: Class names by category id, ascending.
        images: By image file: the stated width and height, and the annotations with their
            positions in the json.
        files: The image file of every usable entry; may repeat.
        orphans: Places of annotations whose image the json does not have.
        outside: Names of image files that are not below the data set's folder; never read.
    """

    path: Path
    categories: dict[object, str]
    images: dict[str, _ImageEntry]
    files: list[str]
    orphans: list[str]
    outside: list[str]

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by ascending category id."""
        return tuple(self.categories.values())


def open_coco(
    jsons: Sequence[Path], request: SplitRequest, bases: Sequence[Path] = ()
) -> OpenedSplit:
    """Open one split of a COCO data set.

    Classes are numbered 0 … n - 1 by ascending category id, unless the request names them; where
    it names some of the categories, objects of the others are left out. Boxes
    with ``iscrowd`` or ``ignore`` are left out.

    Args:
        jsons: The files of the split; their categories must be the same.
        request: The split.
        bases: More folders that file names may be relative to.

    Raises:
        DataError: A json cannot be used, or none of its images is found.
    """
    files = [read_coco(path, (*bases, request.root)) for path in jsons]
    for file in files[1:]:
        if not request.names and file.names != files[0].names:
            what = f"{file.path.name} has other categories than {files[0].path.name}."
            fix = "Give the order in a data yaml:  names: [...]"
            raise DataError(what, fix=fix, code="D25")
    json_of = {image: file for file in files for image in file.images}
    images = sorted(json_of)
    if not images:
        where = ", ".join(map(str, jsons))
        what = f"{request.split}: no images in {where}"
        reasons = [finding for finding in _check_entries(files) if finding.severity == "error"]
        lines = [what, *(finding.message for finding in reasons)]
        raise DataError("\n".join(lines), fix=reasons[0].fix if reasons else "", code="D24")

    def read_json(image: str, _: str, size_wh: tuple[int, int]) -> Objects:
        file = json_of[image]
        return _objects(file.categories, *file.images[image], size_wh)

    categories = tuple(dict.fromkeys(name for file in files for name in file.names))
    names = request.names or files[0].names
    some = set(names) < set(categories)
    label_files = [str(json_of[image].path) for image in images]
    repeated = repeated_items(image for file in files for image in file.files)
    opened = build_split(
        "COCO",
        replace(request, names=categories, single_class=False)
        if some
        else replace(request, names=names),
        ImageList(images, tuple(jsons), repeated),
        label_files,
        scan_images(images, jsons, label_files, read_json),
        faults=OBJECT_FAULTS,
        word="annotation",
        empty_hint="An annotation has an image_id, a category_id and a bbox.",
        entries=_check_entries(files),
    )
    return choose_classes(opened, names, single_class=request.single_class) if some else opened


def read_coco(path: Path, bases: Sequence[Path] = ()) -> CocoJson:
    """Read a COCO json.

    Raises:
        DataError: It cannot be read, or it is no COCO json; file and place are named.
    """
    document = _load(path)
    categories = _categories(path, _entries(path, document, "categories"))
    entries = _entries(path, document, "images")
    names = [entry.get("file_name") for entry in entries]
    for position, name in enumerate(names):
        if not isinstance(name, str):
            raise _invalid(path, f"images[{position}] has no file_name.")
    paths, outside = _resolve_paths(path, cast("list[str]", names), bases)
    images: dict[str, _ImageEntry] = {}
    annotations_of: dict[object, list[tuple[int, dict[str, Any]]]] = {}
    for entry, image in zip(entries, paths, strict=True):
        stated_wh = (_number(entry.get("width", 0)), _number(entry.get("height", 0)))
        annotations: list[tuple[int, dict[str, Any]]] = []
        if image:
            annotations = images.setdefault(image, (stated_wh, annotations))[1]
        if _key(entry.get("id")) is not None:
            annotations_of.setdefault(_key(entry.get("id")), annotations)
    orphans: list[str] = []
    for number, annotation in enumerate(_entries(path, document, "annotations", needed=False)):
        siblings = annotations_of.get(_key(annotation.get("image_id")))
        if siblings is None:
            orphans.append(f"{path.name} annotations[{number}]")
        else:
            siblings.append((number, annotation))
    return CocoJson(path, categories, images, [p for p in paths if p], orphans, outside)


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


def _categories(path: Path, entries: Sequence[Mapping[str, Any]]) -> dict[object, str]:
    """Return the names by id, in ascending order of the ids."""
    names: dict[int, str] = {}
    for number, entry in enumerate(entries):
        key, name = entry.get("id"), entry.get("name")
        if not isinstance(key, int) or not isinstance(name, str) or key in names:
            raise _invalid(path, f"categories[{number}] needs a name and an id of its own.")
        names[key] = printable(name)
    repeated = repeated_items(name for _, name in sorted(names.items()))
    if repeated:
        raise _invalid(path, f"two categories are called {repeated[0]!r}.")
    if not names:
        raise _invalid(path, "there is no category.")
    return dict(sorted(names.items()))


def _resolve_paths(
    path: Path, names: Sequence[str], bases: Sequence[Path]
) -> tuple[list[str], list[str]]:
    """Return the image file of each name, "" for names that lead outside, and these names."""
    folder = path.parent
    root = folder.parent if folder.name == "annotations" else folder
    tag = path.stem.partition("_")[2]
    folders = [folder, folder / "images", root, root / "images", *bases]
    folders += [root / tag, root / "images" / tag] if tag else []
    sample = names[:: max(len(names) // _SAMPLE, 1)]
    base = next((f for f in folders if any(_exists(f, name) for name in sample)), folder)
    allowed = tuple(f"{parent}{os.sep}" for parent in (base, root))
    paths: list[str] = []
    outside: list[str] = []
    for name in names:
        image = os.path.normpath(f"{base}{os.sep}{_slashes(name)}")
        safe = image.startswith(allowed) and not _slashes(name).startswith("/")
        if not (safe and is_image(image) and name.isprintable()):
            outside.append(printable(name[:80]))
            image = ""
        paths.append(image)
    return paths, outside


def _slashes(name: str) -> str:
    return name.replace("\\", "/")


def _exists(folder: Path, name: str) -> bool:
    relative = _slashes(name)
    if not relative.isprintable() or relative.startswith("/") or ".." in relative.split("/"):
        return False
    return os.path.isfile(folder / relative)  # noqa: PTH113  (a name that is too long is no error)


def _objects(
    categories: Mapping[object, str],
    stated_wh: tuple[float, float],
    annotations: Sequence[tuple[int, Mapping[str, Any]]],
    size_wh: tuple[int, int],
) -> Objects:
    bad = check_image_size(annotations[0][0] if annotations else 0, stated_wh, size_wh)
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
    rows, unusable = normalise_boxes(boxes, size_wh)
    return rows, [*bad, *unusable]


def _number(value: object) -> float:
    try:
        return float(value) if isinstance(value, (int, float)) else float("nan")
    except OverflowError:
        return float("nan")


def _key(value: object) -> object:
    return value if isinstance(value, (int, str)) else None


def _check_entries(files: Sequence[CocoJson]) -> Iterator[Finding]:
    outside = [f"{file.path.name} {name!r}" for file in files for name in file.outside]
    if outside:
        what = "File names that lead to no image below the data set's folder and are not read"
        fix = "Let file_name be relative to the folder of the images."
        yield summarise("image-outside", "error", what, outside, len(outside), fix)
    orphans = [place for file in files for place in file.orphans]
    if orphans:
        what = "Annotations of images that the json does not have"
        yield summarise("label-orphan", "warning", what, orphans, len(orphans))
