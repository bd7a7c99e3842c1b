"""Pascal VOC: images, and one XML file of objects per image."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from xml.parsers import expat

import numpy as np

from tutelage.data.formats.build_index import OpenedSplit, build_split
from tutelage.data.formats.image_lists import ImageList, path_exists
from tutelage.data.formats.pixel_boxes import PixelBox, check_image_size, normalise_boxes
from tutelage.data.formats.scan import (
    Objects,
    Scan,
    SplitRequest,
    label_path,
    read_labels,
    scan_images,
)
from tutelage.data.formats.scan_findings import OBJECT_FAULTS
from tutelage.data.formats.yolo_labels import BadLabelLine, LabelFault
from tutelage.data.index import Ignored
from tutelage.errors import DataError
from tutelage.sanitise import printable

_FOLDERS = (("JPEGImages", "Annotations"), ("images", "annotations"))
_SAMPLE = 50
_BOX = ("xmin", "ymin", "xmax", "ymax")
_FIELDS = {"name", "difficult", *(f"bndbox/{side}" for side in _BOX)}


def xml_path(image: str) -> str:
    """Return the XML file of an image: in ``Annotations`` beside ``JPEGImages``, else beside it.

    ``annotations`` beside ``images`` is accepted, too.
    """
    stem = image.rpartition(".")[0]
    for images, labels in _FOLDERS:
        head, folder, tail = stem.rpartition(f"{os.sep}{images}{os.sep}")
        place = f"{head}{os.sep}{labels}"
        if folder and path_exists(place):
            return f"{place}{os.sep}{tail}.xml"
    return f"{stem}.xml"


def looks_like_voc(images: Sequence[str]) -> bool:
    """Return whether images have XML files and no YOLO labels, judging by a sample."""
    sample = images[:: max(len(images) // _SAMPLE, 1)]
    if any(path_exists(label_path(image)) for image in sample):
        return False
    return any(path_exists(xml_path(image)) for image in sample)


def open_voc(
    images: ImageList, request: SplitRequest, others: Iterable[ImageList] = ()
) -> OpenedSplit:
    """Open one split of a Pascal VOC data set.

    Objects marked difficult are not trained on and ignored in evaluations, as in VOC's own. A box
    covers the pixels ``xmin`` … ``xmax``, counted from 1. Without given names the classes are those
    that occur in any split, in alphabetical order.

    Args:
        images: The images of the split.
        request: The split.
        others: The images of the other splits, for the class names.

    Raises:
        DataError: There is no image, or no class.
    """
    if not images.images:
        sources = ", ".join(map(str, images.sources))
        raise DataError(f"{request.split}: no images in {sources}", code="D24")
    label_files, scan = _scan_voc(images)
    names = request.names
    if not names:
        scans = [scan, *(_scan_voc(other)[1] for other in others)]
        names = tuple(sorted({name for each in scans for name in _trained_names(each)}))
    if not names:
        raise DataError(f"No object with a class in the XML files of {request.source}.", code="D26")
    return build_split(
        "Pascal VOC",
        replace(request, names=names),
        images,
        label_files,
        scan,
        faults=OBJECT_FAULTS,
        word="object",
        empty_hint="An object has a <name> and a <bndbox>.",
    )


def _trained_names(scan: Scan) -> list[str]:
    """Return the classes of the objects that are not ignored."""
    return scan.words[np.unique(scan.labels[scan.ignored == 0])].tolist() if len(scan.words) else []


def _scan_voc(images: ImageList) -> tuple[list[str], Scan]:
    label_files = [xml_path(image) for image in images.images]
    return label_files, scan_images(images.images, images.sources, label_files, read_voc)


def read_voc(_: str, label_file: str, size_wh: tuple[int, int]) -> Objects | None:
    """Read one XML file; see :data:`~tutelage.data.formats.scan.Reader`."""
    content = read_labels(label_file)
    return None if content is None else parse_voc(content, size_wh)


def parse_voc(content: bytes, size_wh: tuple[int, int]) -> Objects:
    """Read an XML file of objects.

    Entity declarations are refused, so that nothing is expanded or fetched.

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
    bad = check_image_size(*document.size, size_wh) if document.size else []
    for line, fields in document.objects:
        name = fields.get("name", "")
        text = " ".join([name, *(fields.get(f"bndbox/{side}", "-") for side in _BOX)])
        fault = None
        ignored = _ignored(fields)
        if not name or any(f"bndbox/{side}" not in fields for side in _BOX):
            fault = LabelFault.IGNORED if ignored else LabelFault.SHAPE
        else:
            try:
                left, top, right, bottom = (float(fields[f"bndbox/{side}"]) for side in _BOX)
                xyxy = (left - 1, top - 1, right, bottom)
                boxes.append(PixelBox(name, xyxy, line, text, ignored=ignored))
            except ValueError:
                fault = LabelFault.NUMBER
        if fault is not None:
            bad.append(BadLabelLine(line, fault, printable(text[:80])))
    rows, unusable = normalise_boxes(boxes, size_wh)
    return rows, [*bad, *unusable]


def _ignored(fields: dict[str, str]) -> Ignored:
    difficult = fields.get("difficult", "").lower() in ("1", "true")
    return Ignored.DIFFICULT if difficult else Ignored.NO


class _Document:
    """Collects the objects of a VOC file while expat reads it; nested parts are ignored.

    Attributes:
        objects: Line and fields of each object, by their path within it.
        size: Line, and width and height of the image as the file states them; None if it does not.
        line: The current line.
    """

    def __init__(self) -> None:
        self.objects: list[tuple[int, dict[str, str]]] = []
        self.size: tuple[int, tuple[float, float]] | None = None
        self._path: list[str] = []
        self._text: list[str] = []
        self._size_fields: dict[str, float] = {}
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text.append
        self._parser.EntityDeclHandler = self._refuse_entity

    @property
    def line(self) -> int:
        return self._parser.CurrentLineNumber

    def read(self, content: bytes) -> None:
        self._parser.Parse(content, True)

    def _refuse_entity(self, *_: object) -> None:
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
        if self._path[1:2] == ["object"] and path in _FIELDS:
            self.objects[-1][1].setdefault(path, text)
        elif self._path[1:] in (["size", "width"], ["size", "height"]):
            self._size_fields[tag] = float(text or 0)
            if len(self._size_fields) == len(("width", "height")):
                self.size = self.line, (self._size_fields["width"], self._size_fields["height"])
        self._path.pop()
        self._text.clear()
