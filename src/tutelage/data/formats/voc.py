"""Pascal VOC: images, and one XML file of objects per image."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from tutelage.data.formats.build_index import OpenedSplit, SplitImages, assembled
from tutelage.data.formats.image_lists import exists
from tutelage.data.formats.pixel_boxes import PixelBox, to_rows, told_size
from tutelage.data.formats.scan import Objects, label_path, read_labels, scan
from tutelage.data.formats.scan_findings import (
    OBJECT_FAULTS,
    notice,
    notice_classes,
    notice_faults,
    notice_missing_labels,
    notice_no_box,
)
from tutelage.data.formats.yolo_labels import BadLabelLine, LabelFault
from tutelage.errors import DataError
from tutelage.sanitise import printable

_FOLDERS = (("JPEGImages", "Annotations"), ("images", "annotations"))
_LOOKED_AT = 50
_BOX = ("xmin", "ymin", "xmax", "ymax")
_WANTED = {"name", "difficult", *(f"bndbox/{side}" for side in _BOX)}


class VocImages(NamedTuple):
    """The images of one split, and the folders or image sets that name them."""

    images: Sequence[str]
    sources: tuple[Path, ...]


def xml_path(image: str) -> str:
    """Return the XML file of an image: in ``Annotations`` beside ``JPEGImages``, else beside it.

    ``annotations`` beside ``images`` will do, too. What an XML file says of its image is not used.
    """
    stem = image.rpartition(".")[0]
    for images, labels in _FOLDERS:
        head, folder, tail = stem.rpartition(f"{os.sep}{images}{os.sep}")
        place = f"{head}{os.sep}{labels}"
        if folder and exists(place):
            return f"{place}{os.sep}{tail}.xml"
    return f"{stem}.xml"


def looks_like_voc(images: Sequence[str]) -> bool:
    """Tell whether images have XML files and no YOLO labels, by some of them."""
    some = images[:: max(len(images) // _LOOKED_AT, 1)]
    if any(exists(label_path(image)) for image in some):
        return False
    return any(exists(xml_path(image)) for image in some)


def open_voc(
    chosen: VocImages,
    split: str,
    *,
    source: str,
    root: Path,
    names: Sequence[str] = (),
    others: Iterable[VocImages] = (),
    repeated: Sequence[str] = (),
    single_class: bool = False,
) -> OpenedSplit:
    """Open one split of a Pascal VOC data set.

    Objects marked difficult are left out, as VOC's own evaluation does. A box covers the pixels
    ``xmin`` … ``xmax``, counted from 1.

    Args:
        chosen: The split.
        split: Its name.
        source: What the user named.
        root: Folder of the data set.
        names: Class names; none: those that occur in any split, in alphabetical order.
        others: The other splits, for the class names.
        repeated: Images that were named more than once.
        single_class: Treat all classes as one.

    Raises:
        DataError: There is no image, or no class.
    """
    if not chosen.images:
        raise DataError(f"{split}: no images in {', '.join(map(str, chosen.sources))}", code="D24")
    label_files = [xml_path(image) for image in chosen.images]
    found = scan(chosen.images, chosen.sources, label_files, read_voc)
    if not names:
        words = set(found.words.tolist())
        for images, sources in others:
            words |= set(
                scan(images, sources, list(map(xml_path, images)), read_voc).words.tolist()
            )
        names = sorted(words)
    if not names:
        raise DataError(f"No object with a class in the XML files of {source}.", code="D26")
    listed = SplitImages(
        "Pascal VOC", source, split, root, tuple(names), chosen.sources, chosen.images, label_files
    )
    findings = [
        *notice(listed, found, repeated),
        *notice_missing_labels(listed, found),
        *notice_faults(listed, found, OBJECT_FAULTS, "object"),
        *(() if single_class else notice_classes(listed, found)),
        *notice_no_box(listed, found, "An object has a <name> and a <bndbox>."),
    ]
    return assembled(listed, found, findings=findings, single_class=single_class)


def read_voc(_: str, label_file: str, size_wh: tuple[int, int]) -> Objects | None:
    """Read one XML file; see :data:`~tutelage.data.formats.scan.Reader`."""
    content = read_labels(label_file)
    return None if content is None else parse_voc(content, size_wh)


def parse_voc(content: bytes, size_wh: tuple[int, int]) -> Objects:
    """Read an XML file of objects.

    Entities are refused where they are declared, so that nothing is expanded or fetched.

    Args:
        content: The file.
        size_wh: The size of the image.
    """
    document = _Document()
    try:
        document.read(content)
    except (expat.ExpatError, ValueError, LookupError) as error:
        line = getattr(error, "lineno", 0) or document.line
        return [], [BadLabelLine(line, LabelFault.SHAPE, printable(str(error))[:80])]
    boxes: list[PixelBox] = []
    bad = told_size(*document.size, size_wh) if document.size else []
    for line, fields in document.objects:
        name = fields.get("name", "")
        text = " ".join([name, *(fields.get(f"bndbox/{side}", "-") for side in _BOX)])
        if fields.get("difficult", "").lower() in ("1", "true"):
            bad.append(BadLabelLine(line, LabelFault.IGNORED, printable(text[:80])))
            continue
        if not name or any(f"bndbox/{side}" not in fields for side in _BOX):
            bad.append(BadLabelLine(line, LabelFault.SHAPE, printable(text[:80])))
            continue
        try:
            left, top, right, bottom = (float(fields[f"bndbox/{side}"]) for side in _BOX)
        except ValueError:
            bad.append(BadLabelLine(line, LabelFault.NUMBER, printable(text[:80])))
            continue
        boxes.append(PixelBox(name, (left - 1, top - 1, right, bottom), line, text))
    rows, more = to_rows(boxes, size_wh)
    return rows, [*bad, *more]


class _Document:
    """Collects the objects of a VOC file while expat reads it: direct fields only, no parts.

    Attributes:
        objects: Line and fields of each object, by their path within it.
        size: Line, and width and height that the file tells of its image; none if it does not.
        line: Where the reader is.
    """

    def __init__(self) -> None:
        self.objects: list[tuple[int, dict[str, str]]] = []
        self.size: tuple[int, tuple[float, float]] | None = None
        self._path: list[str] = []
        self._text: list[str] = []
        self._told: dict[str, float] = {}
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text.append
        self._parser.EntityDeclHandler = self._refuse

    @property
    def line(self) -> int:
        return self._parser.CurrentLineNumber

    def read(self, content: bytes) -> None:
        self._parser.Parse(content, True)

    def _refuse(self, *_: object) -> None:
        raise ValueError("entities are refused")

    def _start(self, tag: str, _: dict[str, str]) -> None:
        if not self._path and tag != "annotation":
            raise ValueError(f"expected <annotation>, got <{tag}>")
        self._path.append(tag)
        self._text.clear()
        if self._path == ["annotation", "object"]:
            self.objects.append((self.line, {}))

    def _end(self, tag: str) -> None:
        text, path = "".join(self._text).strip(), "/".join(self._path[2:])
        if self._path[1:2] == ["object"] and path in _WANTED:
            self.objects[-1][1].setdefault(path, text)
        elif self._path[1:] in (["size", "width"], ["size", "height"]):
            self._told[tag] = float(text or 0)
            if len(self._told) == len(("width", "height")):
                self.size = self.line, (self._told["width"], self._told["height"])
        self._path.pop()
        self._text.clear()
