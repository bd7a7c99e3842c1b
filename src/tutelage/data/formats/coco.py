"""COCO: images, and one json of categories, images and boxes per split."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, cast

from hotcoco import mask

from tutelage.data.findings import Finding, summarise
from tutelage.data.formats.build_index import OpenedSplit, build_split
from tutelage.data.formats.chosen_classes import choose_classes
from tutelage.data.formats.coco_json import CocoImage, CocoJson, Id, json_number, read_coco
from tutelage.data.formats.image_lists import ImageList, repeated_items
from tutelage.data.formats.pixel_boxes import PixelBox, normalise_boxes
from tutelage.data.formats.scan import Objects, SplitRequest, scan_images
from tutelage.data.formats.scan_findings import OBJECT_FAULTS
from tutelage.data.formats.stated_frame import StatedFrame
from tutelage.data.formats.yolo_labels import BadLabelLine, LabelFault
from tutelage.data.index import Ignored
from tutelage.errors import DataError
from tutelage.sanitise import printable

_LARGEST_MASK = 100_000  # pixels of a side


def open_coco(
    jsons: Sequence[Path], request: SplitRequest, bases: Sequence[Path] = ()
) -> OpenedSplit:
    """Open one split of a COCO data set.

    Classes are numbered 0 … n - 1 by ascending category id, unless the request names them; where
    it names some of the categories, objects of the others are left out. Boxes with ``iscrowd`` or
    ``ignore`` are not trained on, and ignored in evaluations.

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
        raise _no_images(request, files)
    frame = StatedFrame(request.box_frame)

    def read_json(image: str, _: str, size_wh: tuple[int, int]) -> Objects:
        file = json_of[image]
        return _objects(file, file.images[image], image, size_wh, frame)

    categories = tuple(dict.fromkeys(name for file in files for name in file.names))
    names = request.names or files[0].names
    some = set(names) < set(categories)
    label_files = [str(json_of[image].path) for image in images]
    repeated = repeated_items(image for file in files for image in file.found.files if image)
    ids = [json_of[image].images[image].id for image in images]
    opened = build_split(
        "COCO",
        replace(request, names=categories, single_class=False)
        if some
        else replace(request, names=names),
        ImageList(images, tuple(jsons), repeated),
        label_files,
        scan_images(images, jsons, label_files, read_json, form=frame.name),
        faults=OBJECT_FAULTS,
        word="annotation",
        empty_hint="An annotation has an image_id, a category_id and a bbox.",
        entries=_check_entries(files),
        image_ids=ids if None not in ids and len(set(ids)) == len(ids) else (),
        category_ids=category_ids(files, categories if some else names),
    )
    return choose_classes(opened, names, single_class=request.single_class) if some else opened


def _no_images(request: SplitRequest, files: Sequence[CocoJson]) -> DataError:
    where = ", ".join(str(file.path) for file in files)
    outside = [name for file in files for name in file.found.outside]
    if not outside:
        return DataError(f"{request.split}: no images in {where}", code="D24")
    what = f"{request.split}: all {len(outside)} file names of {where} lead to no image below the "
    what += f"data set's folder and are not read, e.g. {outside[0]!r}."
    return DataError(what, fix=_OUTSIDE_FIX, code="D24")


def category_ids(files: Sequence[CocoJson], names: Sequence[str]) -> tuple[Id, ...]:
    """Return the category id of each class; empty if two jsons disagree or there is none.

    A class that no json knows has the next free number.
    """
    id_of: dict[str, Id] = {}
    for file in files:
        for key, name in file.categories.items():
            if id_of.setdefault(name, key) != key:
                return ()
    if id_of and all(isinstance(key, int) for key in id_of.values()):
        free = max(cast("list[int]", list(id_of.values()))) + 1
        for name in names:
            if name not in id_of:
                id_of[name], free = free, free + 1
    return tuple(id_of[name] for name in names) if id_of.keys() >= set(names) else ()


def _objects(
    file: CocoJson, image: CocoImage, path: str, size_wh: tuple[int, int], frame: StatedFrame
) -> Objects:
    annotations = image.annotations
    first = annotations[0][0] if annotations else 0
    bad = frame.check(first, image.stated_wh, size_wh, path, boxes=len(annotations))
    boxes: list[PixelBox] = []
    for number, annotation in annotations:
        name, ignored = file.class_name(annotation), _ignored(annotation)
        box = annotation.get("bbox") or _mask_box(annotation.get("segmentation"))
        text = printable(f"{name or annotation.get('category_id')!s} {box}"[:80])
        if name is None:
            bad.append(BadLabelLine(number, LabelFault.CLASS, text))
        elif not isinstance(box, list) or len(box) != len("xywh"):
            fault = LabelFault.IGNORED if ignored else LabelFault.SHAPE
            bad.append(BadLabelLine(number, fault, text))
        else:
            x, y, width, height = map(json_number, box)
            area = json_number(annotation.get("area"))
            boxes.append(PixelBox(name, (x, y, x + width, y + height), number, text, area, ignored))
    boxes = frame.to_shown(boxes, image.stated_wh, size_wh, path)
    rows, unusable = normalise_boxes(boxes, size_wh)
    return rows, [*bad, *unusable]


def _ignored(annotation: Mapping[str, Any]) -> Ignored:
    if annotation.get("iscrowd"):
        return Ignored.CROWD
    return Ignored.DIFFICULT if annotation.get("ignore") else Ignored.NO


def _mask_box(segmentation: object) -> list[float] | None:
    """Return x, y, w, h of polygons or of a run-length encoded mask; None if it is neither."""
    if isinstance(segmentation, dict):
        return _run_length_box(cast("dict[str, Any]", segmentation))
    if not isinstance(segmentation, list) or not segmentation:
        return None
    polygons = cast("list[Any]", segmentation)
    if not all(isinstance(polygon, list) for polygon in polygons):
        polygons = [polygons]  # one polygon without a list around it
    points = [json_number(value) for value in chain.from_iterable(polygons)]
    if len(points) < 6 or any(len(polygon) % 2 for polygon in polygons):
        return None
    xs, ys = points[0::2], points[1::2]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _run_length_box(segmentation: dict[str, Any]) -> list[float] | None:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    sound = isinstance(size, list) and len(size) == 2
    sound = sound and all(
        type(side) is int and 0 < side <= _LARGEST_MASK for side in cast("list[Any]", size)
    )
    if isinstance(counts, list):
        runs = cast("list[Any]", counts)
        sound = sound and all(type(run) is int and run >= 0 for run in runs)
        sound = sound and sum(runs) == math.prod(cast("list[int]", size))
    if not sound or not isinstance(counts, (list, str)):
        return None
    try:
        return mask.to_bbox({"size": size, "counts": counts}).tolist()
    except (ValueError, TypeError, OverflowError):
        return None


_OUTSIDE_FIX = "Let file_name be relative to the folder of the images."


def _check_entries(files: Sequence[CocoJson]) -> Iterator[Finding]:
    outside = [f"{file.path.name} {name!r}" for file in files for name in file.found.outside]
    if outside:
        what = "File names that lead to no image below the data set's folder and are not read"
        yield summarise("image-outside", "error", what, outside, len(outside), _OUTSIDE_FIX)
    dropped = [f"{f.path.name} {f.found.dropped}" for f in files if f.found.dropped]
    if dropped:
        what = "Jsons whose file names begin with folders of another machine, which are left out"
        yield summarise("path-elsewhere", "info", what, dropped, len(dropped))
    roots = [f"{file.path.name} {file.root_category!r}" for file in files if file.root_category]
    if roots:
        what = "Categories without an annotation that only group the others, and are no classes"
        yield summarise("class-group", "info", what, roots, len(roots))
    orphans = [place for file in files for place in file.orphans]
    if orphans:
        what = "Annotations of images that the json does not have"
        yield summarise("label-orphan", "warning", what, orphans, len(orphans))
