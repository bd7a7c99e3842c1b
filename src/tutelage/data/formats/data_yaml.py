"""The data yaml: class names, and where the images of a split are; labels in any format."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple, cast, get_args

import yaml

from tutelage.config.yaml_reader import (
    SAVE_AS,
    UniqueKeys,
    load_yaml,
    not_text,
    read_yaml,
    yaml_problem,
)
from tutelage.data.findings import Finding, summarise
from tutelage.data.formats.build_index import OpenedSplit, add_findings
from tutelage.data.formats.coco import open_coco
from tutelage.data.formats.image_lists import (
    ImageList,
    absolute_path,
    find_tail,
    list_images,
    path_exists,
    repeated_items,
    tail_parts,
)
from tutelage.data.formats.long_lines import read_kpt_shape
from tutelage.data.formats.scan import BoxFrame, SplitRequest
from tutelage.data.formats.split_names import split_of
from tutelage.data.formats.voc import looks_like_voc, open_voc
from tutelage.data.formats.yolo import open_yolo
from tutelage.data.image import SUFFIXES, is_image
from tutelage.errors import DataError, MissingSplitError, nearest

EXAMPLES = 100  # class names that an error writes out, to be pasted
LISTED = 5  # yaml files that stand beside one that does not exist
_SEARCH_DEPTH, _SEARCH_LIMIT = 3, 2000


class SplitEntry(NamedTuple):
    """The entry of one split in a data yaml.

    Attributes:
        names: Class names; may be empty if the split's sources are COCO jsons.
        root: The folder named by ``path``, else the yaml's own.
        bases: The folders that paths in the yaml may be relative to, in order of precedence.
        sources: The folders, lists and jsons of the split.
        findings: Paths that were found elsewhere than where they are written to be.
        box_frame: What boxes in pixels refer to, if the yaml says so.
        keypoints: ``kpt_shape``: key points per object, values per key point.
        voc_origin: The number of the first pixel in VOC files, if the yaml says so.
    """

    names: tuple[str, ...]
    root: Path
    bases: tuple[Path, ...]
    sources: tuple[Path, ...]
    findings: tuple[Finding, ...] = ()
    box_frame: BoxFrame = ""
    keypoints: tuple[int, int] | None = None
    voc_origin: int | None = None


def open_data_yaml(path: Path, split: str, *, single_class: bool = False) -> OpenedSplit:
    """Open one split of a data yaml.

    Jsons are COCO. Images with XML files and without YOLO labels are Pascal VOC, others YOLO.

    Raises:
        DataError: The yaml, or a source in it, cannot be used at all.
    """
    entry = read_split(path, split)
    forms = (entry.box_frame, entry.keypoints, entry.voc_origin)
    request = SplitRequest(str(path), split, entry.root, single_class, entry.names, *forms)
    jsons = [source for source in entry.sources if source.suffix.lower() == ".json"]
    if not jsons:
        images = list_split(path, split, entry)
        opened = (open_voc if looks_like_voc(images) else open_yolo)(images, request)
        return add_findings(opened, images.findings)
    if len(jsons) < len(entry.sources):
        raise _invalid(f"{split} mixes COCO jsons with other sources.", where=path.name)
    return add_findings(open_coco(jsons, request, entry.bases[:2]), entry.findings)


def read_split(path: Path, split: str) -> SplitEntry:
    """Read a data yaml: ``path``, ``train``, ``val``, ``test``, ``names``, ``nc``, ``kpt_shape``.

    ``path`` is relative to the yaml, else to the working directory (as in YOLOv5); a split is a
    folder, a text file with one image per line, a COCO json or a list of these, relative to
    ``path``, else to the yaml, else to the working directory. What does not exist there, but does
    below the yaml without its first folders (``../train/images``, ``/content/set/train/images``),
    is read there, with a finding. Other keys are ignored; nothing is ever downloaded or executed.

    Raises:
        DataError: The yaml cannot be used, or a source does not exist.
    """
    document = _load(path)
    value = document.get(_key(document, split))
    values = cast("list[object]", value) if isinstance(value, list) else [value]
    only_jsons = all(str(item).lower().endswith(".json") for item in values)
    names = () if only_jsons and "names" not in document else _names(path, document)
    folder, here = absolute_path(path.parent), absolute_path(Path())
    elsewhere: list[str] = []
    root, *others = _roots(path, str(document.get("path") or ""), here, elsewhere)
    bases = tuple(dict.fromkeys((root, folder, here, *others)))
    sources = _locate(path, split, document, bases, elsewhere)
    findings = []
    if elsewhere:
        what = f"Paths in {path.name} that do not exist as written"
        findings = [summarise("path-elsewhere", "info", what, elsewhere, len(elsewhere))]
    origin = document.get("voc_origin")
    if origin is not None and (type(origin) is not int or origin not in (0, 1)):
        raise _invalid(f"{path.name}: voc_origin must be 0 or 1, but got {origin!r}.")
    forms = (_box_frame(path, document), read_kpt_shape(path, document), origin)
    return SplitEntry(names, root, bases, sources, tuple(findings), *forms)


def _key(document: Mapping[str, object], split: str) -> str:
    """Return the key of a split, which may be called ``valid`` or ``Train``, too."""
    if split in document:
        return split
    return next((key for key in map(str, document) if split_of(key) == split), split)


def _roots(path: Path, value: str, here: Path, elsewhere: list[str]) -> tuple[Path, ...]:
    """Return the folder named by ``path`` in a yaml; where there is none, all that it may be."""
    root, other = absolute_path(path.parent / value), absolute_path(here / value)
    if path_exists(root):
        return (root,)
    if path_exists(other):
        elsewhere.append(f"path {value!r} is {other}, relative to the working directory")
        return (other,)
    elsewhere.append(f"path {value!r} is nowhere, so that others are relative to the yaml")
    return root, other


def _box_frame(path: Path, document: Mapping[str, object]) -> BoxFrame:
    value = document.get("box_frame", "")
    if value not in get_args(BoxFrame):
        raise _invalid(f"{path.name}: box_frame must be shown or stated, but got {value!r}.")
    return cast("BoxFrame", value)


def list_split(path: Path, split: str, entry: SplitEntry) -> ImageList:
    """List the image files of a split whose sources are folders and lists.

    Raises:
        DataError: There are none.
    """
    listed = list_images(entry.sources, entry.bases)
    listed = listed._replace(findings=(*entry.findings, *listed.findings))
    if not listed.images:
        suffixes = " ".join(suffix.removeprefix(".") for suffix in SUFFIXES)
        what = f"{split}: no images in {', '.join(map(str, entry.sources))}"
        reasons = [finding.message for finding in listed.findings if finding.code == "list-line"]
        fix = f"Images are files ending in: {suffixes}."
        raise DataError("\n".join([what, *reasons]), where=path.name, fix=fix, code="D24")
    return listed


def _invalid(what: str, *, where: str = "", fix: str = "") -> DataError:
    return DataError(what, where=where, fix=fix, code="D01")


def _load(path: Path) -> Mapping[str, object]:
    try:
        document = load_yaml(read_yaml(path), UniqueKeys)
    except FileNotFoundError:
        files = [entry.name for entry in _entries(path.parent) if entry.is_file()]
        fix = nearest(path.name, files) or nearest(str(path), ["digits", "digits:easy"])
        yamls = [name for name in files if name.endswith((".yaml", ".yml"))]
        if not fix:
            there = f"In {path.parent}: {', '.join(sorted(yamls)[:LISTED])}. " if yamls else ""
            fix = f"{there}Without data of your own:  --data digits"
        raise DataError(f"{path} does not exist.", fix=fix, code="D22") from None
    except IsADirectoryError:
        yamls = sorted((*path.glob("*.yaml"), *path.glob("*.yml")))
        fix = f"Use  --data {yamls[0]}" if yamls else "It holds no .yaml file."
        raise DataError(f"{path} is a folder, not a data yaml.", fix=fix, code="D22") from None
    except UnicodeDecodeError as error:
        raise _invalid(f"{not_text(path, error)}.", fix=SAVE_AS) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", code="D22") from error
    except (yaml.YAMLError, RecursionError) as error:
        problem, line = yaml_problem(error)
        where = f"{path.name}:{line}" if line else path.name
        raise _invalid(f"{path} is not valid yaml: {problem}", where=where) from error
    if not isinstance(document, dict):
        content = "nothing" if document is None else f"a {type(document).__name__}"
        raise _invalid(
            f"{path.name} is not a data yaml: expected keys such as train, val and names, "
            f"but it holds {content}."
        )
    return cast("dict[str, object]", document)


def _names(path: Path, document: Mapping[str, object]) -> tuple[str, ...]:
    value = document.get("names")
    if value is None:
        count = document.get("nc")
        names = ["cat", "dog"]
        if isinstance(count, int) and count <= EXAMPLES:
            names = [f"class{i}" for i in range(count)]
        keys = ", ".join(map(str, document)) or "nothing"
        fix = f"Add for example  names: [{', '.join(names)}]"
        raise _invalid(f"{path.name} has no 'names' (found: {keys}).", fix=fix)
    names = _as_list(path, value)
    invalid = [n for n in names if isinstance(n, bool) or not isinstance(n, (str, int, float))]
    if invalid:
        fix = "Put such a name in quotes (yaml reads yes, no, on, off as true or false)."
        raise _invalid(f"{path.name}: names must be text, but got {invalid[0]!r}.", fix=fix)
    texts = tuple(str(name) for name in names)
    if not texts:
        raise _invalid(f"{path.name}: 'names' is empty.", fix="Name at least one class.")
    duplicates = sorted(repeated_items(texts))
    if duplicates:
        raise _invalid(
            f"{path.name}: class names must differ, but {duplicates[0]!r} appears twice."
        )
    count = document.get("nc")
    if count is not None and count != len(texts):
        fix = "Correct one of them; nc may be left out."
        raise _invalid(f"{path.name}: nc is {count!r}, but there are {len(texts)} names.", fix=fix)
    return texts


def _as_list(path: Path, names: object) -> list[object]:
    if isinstance(names, list):
        return list(cast("list[object]", names))
    if isinstance(names, dict):
        numbered = {str(key): name for key, name in cast("dict[object, object]", names).items()}
        numbers = [str(number) for number in range(len(numbered))]
        missing = [number for number in numbers if number not in numbered]
        if missing:
            raise _invalid(
                f"{path.name}: names must be numbered 0…{len(numbers) - 1} without a gap, "
                f"but {missing[0]} is missing."
            )
        return [numbered[number] for number in numbers]
    fix = "Write for example  names: [cat, dog]"
    raise _invalid(f"{path.name}: names must be a list or a map, but got {names!r}.", fix=fix)


def _locate(
    path: Path,
    split: str,
    document: Mapping[str, object],
    bases: Sequence[Path],
    elsewhere: list[str],
) -> tuple[Path, ...]:
    value = document.get(_key(document, split))
    if value is None:
        raise MissingSplitError(
            f"{path.name} has no '{split}' (found: {', '.join(map(str, document)) or 'nothing'}).",
            fix=f"Add for example  {split}: images/{split}",
        )
    values = cast("list[object]", value) if isinstance(value, list) else [value]
    if not all(isinstance(item, str) for item in values):
        raise _invalid(
            f"{path.name}: {split} must be a folder, a text file or a list of these, "
            f"but got {value!r}.",
            fix=f"Write for example  {split}: images/{split}",
        )
    sources: list[Path] = []
    problems: list[str] = []
    hints: list[str] = []
    for name in map(str, values):
        source = next((base / name for base in bases if path_exists(base / name)), None)
        if source is None:
            source = _tail(name, bases[:2])
            if source is not None:
                elsewhere.append(f"{split} {name!r} is {source}")
        if source is None:
            tried = ", ".join(map(str, bases)) if not Path(name).is_absolute() else name
            problems.append(f"{split}: {name} does not exist (looked in {tried})")
            hints += _nearest_path(name, bases)
        elif source.is_file() and is_image(source.name):
            problems.append(f"{split}: {name} is an image; expected a folder or a text file")
        else:
            sources.append(absolute_path(source))
    if problems:
        hint = "\n".join(dict.fromkeys(hints))
        raise _invalid("\n".join(problems), where=path.name, fix=hint)
    return tuple(sources)


def _tail(name: str, places: Sequence[Path]) -> Path | None:
    """Return a path of another folder, machine or system that has the same last parts here.

    Roboflow writes ``../train/images`` for a folder beside the yaml. Of an absolute path at least
    two parts must be the same: a folder ``images`` may be any.
    """
    parts = tail_parts(name)
    relative = name.startswith("..") or not (PurePosixPath(name).root or PureWindowsPath(name).root)
    return find_tail(parts, places, least=len(parts) if relative else 2) if parts else None


def _nearest_path(value: str, bases: Sequence[Path]) -> list[str]:
    name = "/".join(part for part in Path(value).parts if part not in ("..", os.sep))
    for base in bases:
        names = [entry.relative_to(base).as_posix() for entry in _search(base)]
        matches = get_close_matches(name, names, n=1, cutoff=0.6)
        if matches:
            return [f"Nearest: {matches[0]}"]
    return []


def _search(base: Path) -> list[Path]:
    """Return folders and text files under ``base``, nearest first, within the search limits."""
    results, level = [], [base]
    for _ in range(_SEARCH_DEPTH):
        folders: list[Path] = []
        for folder in level:
            for entry in _entries(folder):
                if entry.is_dir():
                    folders.append(entry)
                elif entry.suffix == ".txt":
                    results.append(entry)
                if len(results) + len(folders) > _SEARCH_LIMIT:
                    return results + folders
        results += folders
        level = folders
    return results


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
