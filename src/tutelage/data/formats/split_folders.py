"""Finds the splits of a COCO or Pascal VOC data set, given its folder or one of its jsons."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tutelage.data.formats.build_index import OpenedSplit
from tutelage.data.formats.coco import open_coco
from tutelage.data.formats.data_yaml import read_split
from tutelage.data.formats.image_lists import ImageList, absolute_path, list_images
from tutelage.data.formats.scan import SplitRequest
from tutelage.data.formats.voc import looks_like_voc, open_voc
from tutelage.errors import DataError, MissingSplitError

SPLITS: Mapping[str, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("val", "valid", "validation"),
    "test": ("test",),
}
_ROBOFLOW = "_annotations.coco.json"
_WORD = re.compile(r"(?<![a-z])(train|val|valid|validation|test)(?![a-z])", re.IGNORECASE)
_FOLDER = re.compile(rf"{_WORD.pattern}\d*", re.IGNORECASE)

Sources = Mapping[str, tuple[Path, ...]]


def open_folder(path: Path, split: str, *, single_class: bool = False) -> OpenedSplit:
    """Open one split of a folder with COCO jsons or Pascal VOC's XML files.

    COCO: ``annotations/instances_*.json``, or ``_annotations.coco.json`` in a folder per split.
    VOC: ``ImageSets/Main/*.txt`` (in the folder, in ``VOC*`` or in ``VOCdevkit/VOC*``), or a folder
    per split with XML files beside the images. Without splits all images are for training.

    Raises:
        DataError: There is neither.
        MissingSplitError: There is no such split.
    """
    root = absolute_path(path)
    request = SplitRequest(str(path), split, root, single_class)
    jsons = _coco_sources(root)
    if any(jsons.values()):
        return open_coco(_sources_of(jsons, split, path), request)
    folders = _voc_sources(root)
    if not any(folders.values()):
        read_split(path, split)  # raises; the error suggests a yaml inside
    _sources_of(folders, split, path)
    images = {
        name: ImageList(sorted({i for s in sources for i in list_images(s, (root,))}), sources)
        for name, sources in folders.items()
    }
    others = [each for name, each in images.items() if name != split and each.images]
    return open_voc(images[split], request, others)


def open_json(path: Path, split: str, *, single_class: bool = False) -> OpenedSplit:
    """Open one split of a COCO data set, given the json of any of its splits.

    The json of another split has the same path but for the word train, val or test in the name of
    the file or of its folder. A json without such a word is for training.

    Raises:
        DataError: It is no COCO json.
        MissingSplitError: There is no json of this split.
    """
    json = absolute_path(path)
    if not json.is_file():
        raise DataError(f"{path} does not exist.", code="D22")
    jsons = {name: _sibling(json, words) for name, words in SPLITS.items()}
    if not any(jsons.values()):
        jsons["train"] = (json,)
    sources = _sources_of(jsons, split, path)
    inner = json.parent.name == "annotations" or _FOLDER.fullmatch(json.parent.name)
    root = json.parent.parent if inner else json.parent
    return open_coco(sources, SplitRequest(str(path), split, root, single_class))


def _sibling(json: Path, words: tuple[str, ...]) -> tuple[Path, ...]:
    """Return the json of a split, by replacing the split's word in a json's name or folder."""
    in_name = _WORD.search(json.name) is not None
    if not in_name and _FOLDER.fullmatch(json.parent.name) is None:
        return ()
    for word in words:
        parent = _WORD.sub(word, json.parent.name)
        folder = json.parent if in_name else json.parent.with_name(parent)
        other = folder / _WORD.sub(word, json.name)
        if other.is_file():
            return (other,)
    return ()


def _coco_sources(root: Path) -> Sources:
    jsons: dict[str, tuple[Path, ...]] = {}
    for split, words in SPLITS.items():
        instances = [
            json
            for word in words
            for json in sorted((root / "annotations").glob(f"instances_{word}*.json"))
            if re.fullmatch(rf"instances_{word}\d*", json.stem)
        ]
        if len(instances) > 1:
            raise DataError(
                f"{root / 'annotations'} holds {len(instances)} jsons for {split}: "
                f"{', '.join(json.name for json in instances)}.",
                fix=f"Name one in a data yaml:  {split}: annotations/{instances[0].name}",
                code="D25",
            )
        roboflow = [root / word / _ROBOFLOW for word in words]
        jsons[split] = tuple([json for json in roboflow if json.is_file()][:1] or instances)
    flat = root / _ROBOFLOW
    if not any(jsons.values()) and flat.is_file():
        jsons["train"] = (flat,)
    return jsons


def _voc_sources(root: Path) -> Sources:
    kits = [root, *sorted(root.glob("VOC[0-9]*")), *sorted(root.glob("VOCdevkit/VOC[0-9]*"))]
    sources: dict[str, tuple[Path, ...]] = {}
    for split, words in SPLITS.items():
        sets = [kit / "ImageSets" / "Main" / f"{word}.txt" for kit in kits for word in words]
        sources[split] = tuple(image_set for image_set in sets if image_set.is_file())
    if any(sources.values()):
        return sources
    for split, words in SPLITS.items():
        folders = [root / word for word in words if (root / word).is_dir()]
        sources[split] = tuple(folder for folder in folders if _is_voc(folder))
    if not any(sources.values()) and root.is_dir() and _is_voc(root):
        sources["train"] = (root,)
    return sources


def _is_voc(folder: Path) -> bool:
    return looks_like_voc(sorted(list_images(folder, ())))


def _sources_of(sources: Sources, split: str, path: Path) -> tuple[Path, ...]:
    if not sources.get(split):
        existing = ", ".join(name for name, each in sources.items() if each)
        fix = f"Name the parts in a data yaml:  train: …  {split}: …"
        raise MissingSplitError(f"{path} has no {split} split (found: {existing}).", fix=fix)
    return sources[split]
