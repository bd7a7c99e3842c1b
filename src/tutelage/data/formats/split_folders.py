"""A folder, or one json of it: where the splits of a COCO or Pascal VOC data set are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tutelage.data.formats.build_index import OpenedSplit
from tutelage.data.formats.coco import open_coco
from tutelage.data.formats.data_yaml import read_description
from tutelage.data.formats.image_lists import images_of, normal
from tutelage.data.formats.voc import VocImages, looks_like_voc, open_voc
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
    home = normal(path)
    jsons = _coco_sources(home)
    if any(jsons.values()):
        chosen = _of_split(jsons, split, path)
        return open_coco(chosen, split, source=str(path), root=home, single_class=single_class)
    sources = _voc_sources(home)
    if not any(sources.values()):
        read_description(path, split)  # says which yaml inside was meant
    images = {
        word: VocImages(sorted({i for s in each for i in images_of(s, (home,))}), each)
        for word, each in sources.items()
    }
    _of_split(sources, split, path)
    return open_voc(
        images[split],
        split,
        source=str(path),
        root=home,
        others=[one for word, one in images.items() if word != split and one.images],
        single_class=single_class,
    )


def open_json(path: Path, split: str, *, single_class: bool = False) -> OpenedSplit:
    """Open one split of a COCO data set that is named by the json of one of its splits.

    The jsons of the other splits are those that differ in the word train, val or test only, in the
    name of the file or of its folder. A json without such a word is for training.

    Raises:
        DataError: It is no COCO json.
        MissingSplitError: There is no json of this split.
    """
    place = normal(path)
    if not place.is_file():
        raise DataError(f"{path} does not exist.", code="D22")
    sources = {word: _sibling(place, words) for word, words in SPLITS.items()}
    if not any(sources.values()):
        sources["train"] = (place,)
    chosen = _of_split(sources, split, path)
    inner = place.parent.name == "annotations" or _FOLDER.fullmatch(place.parent.name)
    root = place.parent.parent if inner else place.parent
    return open_coco(chosen, split, source=str(path), root=root, single_class=single_class)


def _sibling(place: Path, words: tuple[str, ...]) -> tuple[Path, ...]:
    """Return the json of a split, going by the word in the name of a json or of its folder."""
    in_name = _WORD.search(place.name) is not None
    if not in_name and _FOLDER.fullmatch(place.parent.name) is None:
        return ()
    for word in words:
        name = _WORD.sub(word, place.name)
        other = place.parent.with_name(_WORD.sub(word, place.parent.name))
        folder = place.parent if in_name else other
        if (folder / name).is_file():
            return (folder / name,)
    return ()


def _coco_sources(home: Path) -> Sources:
    found: dict[str, tuple[Path, ...]] = {}
    for split, words in SPLITS.items():
        folders = [home / word / _ROBOFLOW for word in words]
        named = [
            place
            for word in words
            for place in sorted((home / "annotations").glob(f"instances_{word}*.json"))
            if re.fullmatch(rf"instances_{word}\d*", place.stem)
        ]
        if len(named) > 1:
            raise DataError(
                f"{home / 'annotations'} holds {len(named)} jsons for {split}: "
                f"{', '.join(p.name for p in named)}.",
                fix=f"Name one in a data yaml:  {split}: annotations/{named[0].name}",
                code="D25",
            )
        found[split] = tuple([p for p in folders if p.is_file()][:1] or named)
    flat = home / _ROBOFLOW
    if not any(found.values()) and flat.is_file():
        found["train"] = (flat,)
    return found


def _voc_sources(home: Path) -> Sources:
    kits = [home, *sorted(home.glob("VOC[0-9]*")), *sorted(home.glob("VOCdevkit/VOC[0-9]*"))]
    found: dict[str, tuple[Path, ...]] = {}
    for split, words in SPLITS.items():
        places = [kit / "ImageSets" / "Main" / f"{word}.txt" for kit in kits for word in words]
        found[split] = tuple(place for place in places if place.is_file())
    if any(found.values()):
        return found
    for split, words in SPLITS.items():
        folders = [home / word for word in words if (home / word).is_dir()]
        found[split] = tuple(folder for folder in folders if _is_voc(folder))
    if not any(found.values()) and home.is_dir() and _is_voc(home):
        found["train"] = (home,)
    return found


def _is_voc(folder: Path) -> bool:
    return looks_like_voc(sorted(images_of(folder, ())))


def _of_split(sources: Sources, split: str, path: Path) -> tuple[Path, ...]:
    chosen = sources.get(split, ())
    if not chosen:
        has = ", ".join(word for word, each in sources.items() if each)
        raise MissingSplitError(
            f"{path} has no {split} split (found: {has}).",
            fix=f"Name the parts in a data yaml:  train: …  {split}: …",
        )
    return chosen
