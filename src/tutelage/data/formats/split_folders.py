"""Finds the splits of a COCO or Pascal VOC data set, given its folder or one of its jsons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from tutelage.data.formats.build_index import OpenedSplit, add_findings
from tutelage.data.formats.coco import open_coco
from tutelage.data.formats.image_lists import absolute_path, list_images, list_names
from tutelage.data.formats.scan import SplitRequest
from tutelage.data.formats.split_names import split_in, split_of, without_split
from tutelage.data.formats.voc import looks_like_voc, open_voc
from tutelage.data.index import SPLITS
from tutelage.errors import DataError, MissingSplitError

_ROBOFLOW = "_annotations.coco.json"
_INSTANCES = "instances_"
_NO_BOXES = ("captions", "stuff", "panoptic", "image_info")  # jsons of COCO without instances
_SNIFFED, _KEYS = 1 << 16, (b'"images"', b'"annotations"', b'"categories"')
_ALL = ("trainval", "default")  # image sets of data that are not divided
COCO_PLACES = (
    "annotations/*<split>*.json",
    f"<split>/{_ROBOFLOW}",
    "<split>/*.json",
    "*<split>*.json",
)
VOC_PLACES = (
    "[VOCdevkit/][VOC*/]ImageSets/Main/<split>.txt",
    "<split>/*.xml beside images",
    "images/<split> with annotations/<split>",
)

Sources = Mapping[str, tuple[Path, ...]]


def open_folder(path: Path, split: str, *, single_class: bool = False) -> OpenedSplit:
    """Open one split of a folder with COCO jsons or Pascal VOC's XML files.

    COCO: a json per split in ``annotations``, in the folder of the split, or in the folder itself.
    VOC: ``ImageSets/Main/*.txt`` (in the folder, in ``VOC*`` or in ``VOCdevkit/VOC*``), or a folder
    per split with XML files beside the images. Without splits all images are for training. Splits
    are called as :mod:`~tutelage.data.formats.split_names` says.

    Raises:
        DataError: There is neither.
        MissingSplitError: There is no such split.
    """
    root = absolute_path(path)
    request = SplitRequest(str(path), split, root, single_class)
    jsons = _coco_sources(root)
    folders = {} if any(jsons.values()) else _voc_sources(root)
    if not any(folders.values()) and not any(jsons.values()):
        jsons = _flat_sources(root)
    if any(jsons.values()):
        return open_coco(_sources_of(jsons, split, path, COCO_PLACES), request)
    if not any(folders.values()):
        raise _nothing_found(path)
    _sources_of(folders, split, path, VOC_PLACES)
    images = {name: list_images(sources, (root,)) for name, sources in folders.items()}
    others = [each for name, each in images.items() if name != split and each.images]
    return add_findings(open_voc(images[split], request, others), images[split].findings)


def open_json(path: Path, split: str, *, single_class: bool = False) -> OpenedSplit:
    """Open one split of a COCO data set, given the json of any of its splits.

    The json of another split has the same path but for the word of the split in the name of the
    file or of its folder, or both. A json without such a word is for training.

    Raises:
        DataError: It is no COCO json.
        MissingSplitError: There is no json of this split.
    """
    json = absolute_path(path)
    if not json.is_file():
        raise DataError(f"{path} does not exist.", code="D22")
    jsons = {name: _sibling(json, name) for name in SPLITS}
    if not any(jsons.values()):
        jsons["train"] = (json,)
    named, folder = without_split(json.name), without_split(json.parent.name)
    places = [f"{json.parent}/{named}"] if "*" in named else []
    places += [f"{json.parent.parent}/{folder}/{named}"] if split_of(json.parent.name) else []
    sources = _sources_of(jsons, split, path, [place.replace("*", "<split>") for place in places])
    inner = json.parent.name.lower() == "annotations" or split_of(json.parent.name)
    root = json.parent.parent if inner else json.parent
    return open_coco(sources, SplitRequest(str(path), split, root, single_class))


def _nothing_found(path: Path) -> DataError:
    yamls = sorted((*path.glob("*.yaml"), *path.glob("*.yml")))
    what = f"{path} is a folder, not a data yaml, and holds neither COCO nor Pascal VOC."
    looked = f"Looked for {', '.join((*COCO_PLACES, *VOC_PLACES))}."
    return DataError(what, fix=f"Use  --data {yamls[0]}" if yamls else looked, code="D22")


def _sibling(json: Path, split: str) -> tuple[Path, ...]:
    """Return the json of a split that is called like ``json`` but for the word of the split."""
    folders = [json.parent]
    if split_of(json.parent.name):
        folders += [each for each in _folders(json.parent.parent) if split_of(each.name) == split]
    for folder in folders:
        own = folder == json.parent
        for other in _jsons(folder):
            word = split_in(other.name) or split_of(folder.name)
            alike = without_split(other.name) == without_split(json.name)
            if word == split and alike and (own or split_of(folder.name) == split):
                return (other,)
    return ()


def _coco_sources(root: Path) -> Sources:
    """Return the jsons in ``annotations`` or in the folders of the splits."""
    places = [each for each in _folders(root) if each.name.lower() == "annotations"]
    jsons = _by_split(json for place in places for json in _jsons(place))
    for folder in _folders(root):
        split = split_of(folder.name)
        inside = [json for json in _jsons(folder) if _is_coco(json)] if split else []
        roboflow = [json for json in inside if json.name == _ROBOFLOW]
        if split and (roboflow or (len(inside) == 1 and not jsons[split])):
            jsons[split] = tuple(roboflow or inside)
    if not any(jsons.values()):
        alone = [root / _ROBOFLOW] if _ROBOFLOW in list_names(root) else []
        alone += [json for place in places for json in _jsons(place) if _is_coco(json)]
        jsons["train"] = tuple(alone[:1]) if len(alone) == 1 else ()
    return jsons


def _flat_sources(root: Path) -> Sources:
    """Return the jsons beside the folders of the images; a single one is for training."""
    jsons = [json for json in _jsons(root) if _is_coco(json)]
    sources = _by_split(jsons)
    if len(jsons) == 1 and not any(sources.values()):
        return {**sources, "train": (jsons[0],)}
    return sources


def _is_coco(json: Path) -> bool:
    """Return whether a json looks like COCO, judging by its beginning and end."""
    try:
        with json.open("rb") as file:
            text = file.read(_SNIFFED)
            file.seek(max(json.stat().st_size - _SNIFFED, 0))
            text += file.read(_SNIFFED)
    except OSError:
        return False
    return text.lstrip().startswith(b"{") and any(key in text for key in _KEYS)


def _by_split(jsons: Iterable[Path]) -> dict[str, tuple[Path, ...]]:
    """Sort jsons by the split in their names; COCO's instances before keypoints and others.

    Raises:
        DataError: There are several for a split.
    """
    found: dict[str, tuple[Path, ...]] = {}
    paths = [json for json in jsons if not json.name.lower().startswith(_NO_BOXES)]
    for split in SPLITS:
        mine = [json for json in paths if split_in(json.name) == split]
        first = [json for json in mine if json.name.lower().startswith(_INSTANCES)]
        chosen = first or mine
        if len(chosen) > 1:
            raise DataError(
                f"{chosen[0].parent} holds {len(chosen)} jsons for {split}: "
                f"{', '.join(json.name for json in chosen)}.",
                fix=f"Name one in a data yaml:  {split}: {chosen[0].parent.name}/{chosen[0].name}",
                code="D25",
            )
        found[split] = tuple(chosen)
    return found


def _voc_sources(root: Path) -> Sources:
    kits = [root, *sorted(root.glob("VOC[0-9]*")), *sorted(root.glob("VOCdevkit/VOC[0-9]*"))]
    sets = [file for kit in kits for file in _files(kit / "ImageSets" / "Main", ".txt")]
    sources = {name: tuple(s for s in sets if split_of(s.stem) == name) for name in SPLITS}
    if any(sources.values()):
        return sources
    undivided = tuple(file for file in sets if file.stem.lower() in _ALL)
    if undivided:
        return {**sources, "train": undivided}
    for parent in (root, root / "images", root / "JPEGImages"):
        folders = [each for each in _folders(parent) if split_of(each.name) and _is_voc(each)]
        for name in SPLITS if folders else ():
            sources[name] = tuple(each for each in folders if split_of(each.name) == name)
        if folders:
            return sources
    if root.is_dir() and _is_voc(root):
        sources["train"] = (root,)
    return sources


def _is_voc(folder: Path) -> bool:
    return looks_like_voc(list_images((folder,), ()))


def _folders(parent: Path) -> list[Path]:
    return [parent / name for name in list_names(parent) if (parent / name).is_dir()]


def _files(folder: Path, suffix: str) -> list[Path]:
    names = [name for name in list_names(folder) if name.lower().endswith(suffix)]
    return [folder / name for name in names if not name.startswith(".")]


def _jsons(folder: Path) -> list[Path]:
    return _files(folder, ".json")


def _sources_of(
    sources: Sources, split: str, path: Path, places: Iterable[str]
) -> tuple[Path, ...]:
    if not sources.get(split):
        existing = ", ".join(name for name, each in sources.items() if each)
        looked = ", ".join(places).replace("<split>", split)
        where = f"; looked for {looked}" if looked else ""
        fix = f"Name the parts in a data yaml:  train: …  {split}: …"
        raise MissingSplitError(f"{path} has no {split} split (found: {existing}{where}).", fix=fix)
    return sources[split]
