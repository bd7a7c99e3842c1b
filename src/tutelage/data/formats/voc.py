"""Pascal VOC: images, and one XML file of objects per image."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from xml.parsers import expat

import numpy as np

from tutelage.data.findings import CODES, Finding, first_cases
from tutelage.data.formats.build_index import OpenedSplit, build_split
from tutelage.data.formats.chosen_classes import choose_classes
from tutelage.data.formats.image_lists import ImageList, path_exists
from tutelage.data.formats.pixel_boxes import PixelBox, normalise_boxes
from tutelage.data.formats.scan import (
    Objects,
    Scan,
    SplitRequest,
    label_path,
    read_labels,
    scan_images,
)
from tutelage.data.formats.scan_findings import OBJECT_FAULTS
from tutelage.data.formats.stated_frame import StatedFrame
from tutelage.data.formats.yolo_labels import BadLabelLine, LabelFault
from tutelage.data.index import Ignored
from tutelage.errors import DataError
from tutelage.sanitise import printable

_FOLDERS = (
    ("JPEGImages", "Annotations"),
    ("images", "annotations"),
    ("images", "Annotations"),  # Label Studio's
)
_SAMPLE = 50
_BOX = ("xmin", "ymin", "xmax", "ymax")
_OTHER_SHAPES = ("robndbox", "polygon")  # of roLabelImg and of Roboflow
_FIELDS = {"name", "difficult", *_OTHER_SHAPES, *(f"bndbox/{side}" for side in _BOX)}
_ENCODING = re.compile(rb"""\s*<\?xml\s[^>]*?encoding\s*=\s*["']([\w.:-]+)["'][^>]*\?>""")
_OF_EXPAT = ("utf-8", "utf-16", "iso-8859-1", "us-ascii")
_INVALID = expat.errors.codes[expat.errors.XML_ERROR_INVALID_TOKEN]
_BARE = re.compile(rb"&(?!#?\w+;)")


def xml_path(image: str) -> str:
    """Return the XML file of an image: in ``Annotations`` beside ``JPEGImages``, else beside it.

    ``annotations`` or ``Annotations`` beside ``images`` are accepted, too.
    """
    stem = image.rpartition(".")[0]
    for images, labels in _FOLDERS:
        head, folder, tail = stem.rpartition(f"{os.sep}{images}{os.sep}")
        place = f"{head}{os.sep}{labels}"
        if folder and path_exists(place):
            return f"{place}{os.sep}{tail}.xml"
    return f"{stem}.xml"


def looks_like_voc(listed: ImageList) -> bool:
    """Return whether images have XML files and no YOLO labels, judging by a sample."""
    sample = listed.images[:: max(len(listed.images) // _SAMPLE, 1)]
    if any(path_exists(label_path(image)) for image in sample):
        return False
    return any(path_exists(listed.xml.get(image) or xml_path(image)) for image in sample)


def open_voc(
    images: ImageList, request: SplitRequest, others: Iterable[ImageList] = ()
) -> OpenedSplit:
    """Open one split of a Pascal VOC data set.

    Objects marked difficult are not trained on and ignored in evaluations, as in VOC's own. A box
    covers the pixels ``xmin`` … ``xmax``, counted from 1; where an ``xmin`` or ``ymin`` is 0, all
    are edges counted from 0, as many tools write them. Without given names the classes are those
    that occur in any split, in alphabetical order; where those given are some of them, the objects
    of others are left out.

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
    label_files, scan = _scan_voc(images, request)
    others = [] if request.names else list(others)
    scans = [scan, *(_scan_voc(other, request)[1] for other in others)]
    zeros = _zeros(label_files, scan)
    if any((each.bad_fault == LabelFault.ORIGIN).any() for each in scans):
        request = replace(request, voc_origin=0)
        scan = _scan_voc(images, request)[1]
    names = request.names
    if not names:
        names = tuple(sorted({name for each in scans for name in _trained_names(each)}))
    if not names:
        raise _no_object(label_files, scan, request)
    words = tuple(scan.words.tolist())
    some = set(names) < set(words)
    opened = build_split(
        "Pascal VOC",
        replace(request, names=words, single_class=False)
        if some
        else replace(request, names=names),
        images,
        label_files,
        scan,
        faults=OBJECT_FAULTS,
        word="object",
        empty_hint="An object has a <name> and a <bndbox>.",
        entries=zeros,
    )
    return choose_classes(opened, names, single_class=request.single_class) if some else opened


def _zeros(label_files: Sequence[str], scan: Scan) -> list[Finding]:
    """Return a finding for files that count pixels from 0."""
    cases = np.flatnonzero(scan.bad_fault == LabelFault.ORIGIN).tolist()
    if not cases:
        return []
    examples = first_cases(
        f"{label_files[int(scan.bad_image[i])]}:{int(scan.bad_line[i])} {scan.bad_text[i]!r}"
        for i in cases
    )
    message = f"{len(cases)} corners are 0, e.g. {examples[0]}: boxes are read as counted from 0."
    fix = "Say for all splits how pixels count in a data yaml:  voc_origin: 0  or  voc_origin: 1"
    return [Finding("voc-origin", "info", message, examples, len(cases), fix)]


def _trained_names(scan: Scan) -> list[str]:
    """Return the classes of the objects that are not ignored."""
    return scan.words[np.unique(scan.labels[scan.ignored == 0])].tolist() if len(scan.words) else []


def _no_object(label_files: Sequence[str], scan: Scan, request: SplitRequest) -> DataError:
    """Return the error for XML files without a single usable object: why, and where."""
    harmless = np.isin(scan.bad_fault, (LabelFault.SIZE, LabelFault.ORIGIN))
    faults = scan.bad_fault[~harmless].tolist()
    if faults:
        first = int(np.argmin(harmless))
        fault = LabelFault(faults[0])
        same = faults.count(fault)
        place = f"{label_files[int(scan.bad_image[first])]}:{int(scan.bad_line[first])}"
        others = f"; {len(faults) - same} have other flaws" if len(faults) > same else ""
        code, severity, why = OBJECT_FAULTS[fault]
        return DataError(
            f"{request.split}: none of {len(faults)} objects or files can be used; {same} like "
            f'{place} "{scan.bad_text[first]}": {why}{others}.',
            fix="Mend or convert these files." if severity != "info" else "",
            code=CODES.get(code, "D26"),
        )
    images = np.flatnonzero(~scan.usable)
    if len(images):
        what = f"None of {len(images)} images can be used, e.g. {scan.reasons[images[0]]}"
        if len(images) == len(scan.reasons):
            return DataError(f"{request.split}: {what}.", code="D24")
    missing = np.flatnonzero(scan.usable & ~scan.labelled)
    if len(missing):
        what = f"{request.split}: {len(missing)} of {len(scan.labelled)} images have no XML file"
        return DataError(f"{what}, e.g. {label_files[missing[0]]} is missing.", code="D02")
    return DataError(
        f"{request.split}: no object in {len(label_files)} XML files, e.g. {label_files[0]}.",
        fix="An object has a <name> and a <bndbox>.",
        code="D26",
    )


def _scan_voc(images: ImageList, request: SplitRequest) -> tuple[list[str], Scan]:
    label_files = [images.xml.get(image) or xml_path(image) for image in images.images]
    frame = StatedFrame(request.box_frame, strict=False)

    def read_voc(image: str, label_file: str, size_wh: tuple[int, int]) -> Objects | None:
        content = read_labels(label_file)
        return None if content is None else parse_voc(content, size_wh, image, frame, origin)

    origin = request.voc_origin
    files = (images.images, images.sources, label_files)
    return label_files, scan_images(*files, read_voc, f"{frame.name} {origin}")


def parse_voc(
    content: bytes,
    size_wh: tuple[int, int],
    image: str = "",
    frame: StatedFrame = StatedFrame("shown"),  # noqa: B008  (immutable)
    origin: int | None = 1,
) -> Objects:
    """Read an XML file of objects.

    Entity declarations are refused, so that nothing is expanded or fetched.

    Args:
        content: The file.
        size_wh: The size of the image.
        image: The image file, whose EXIF orientation is looked up where the sizes contradict.
        frame: What the boxes refer to.
        origin: The number of the first pixel: 1, or 0 for edges counted from 0; None: 1, and
            corners at 0 are told.
    """
    document = _Document()
    try:
        document.read(_in_utf8(content))
    except (expat.ExpatError, ValueError, LookupError) as error:
        line = getattr(error, "lineno", 0) or document.line
        reason = str(error)
        if getattr(error, "code", 0) == _INVALID and _BARE.search(content.splitlines()[line - 1]):
            reason = "a bare & must be written &amp;"
        return [], [BadLabelLine(line, LabelFault.SHAPE, printable(reason)[:80])]
    boxes: list[PixelBox] = []
    size_line, stated_wh = document.size or (0, (0, 0))
    bad = frame.check(size_line, stated_wh, size_wh, image, boxes=len(document.objects))
    for line, fields in document.objects:
        name = fields.get("name", "")
        text = " ".join([name, *(fields.get(f"bndbox/{side}", "-") for side in _BOX)])
        fault = None
        ignored = _ignored(fields)
        if not name or any(f"bndbox/{side}" not in fields for side in _BOX):
            fault = LabelFault.IGNORED if ignored else LabelFault.SHAPE
            for shape in _OTHER_SHAPES:
                if shape in fields and "bndbox/xmin" not in fields:
                    text = f"{name} has a <{shape}> and no <bndbox>"
        else:
            try:
                left, top, right, bottom = (float(fields[f"bndbox/{side}"]) for side in _BOX)
            except ValueError:
                fault = LabelFault.NUMBER
            else:
                if left > right + 1 or top > bottom + 1:
                    fault, text = LabelFault.SHAPE, f"{text}, corners swapped"
                else:
                    first = 0 if origin == 0 else 1
                    xyxy = (left - first, top - first, right, bottom)
                    if origin is None and (0 <= left < 1 or 0 <= top < 1):
                        bad.append(BadLabelLine(line, LabelFault.ORIGIN, printable(text[:80])))
                    boxes.append(PixelBox(name, xyxy, line, text, ignored=ignored))
        if fault is not None:
            bad.append(BadLabelLine(line, fault, printable(text[:80])))
    boxes = frame.to_shown(boxes, stated_wh, size_wh, image)
    rows, unusable = normalise_boxes(boxes, size_wh)
    return rows, [*bad, *unusable]


def _ignored(fields: dict[str, str]) -> Ignored:
    difficult = fields.get("difficult", "").lower() in ("1", "true")
    return Ignored.DIFFICULT if difficult else Ignored.NO


def _in_utf8(content: bytes) -> bytes:
    """Return a file in UTF-8 whose declared encoding is none of expat's, such as GBK.

    Raises:
        ValueError: It is not in that encoding.
        LookupError: There is no such encoding.
    """
    head = _ENCODING.match(content)
    if head is None or head[1].lower().decode() in _OF_EXPAT:
        return content
    name = head[1].decode()
    # what calls itself GB2312 or GBK holds later characters, too
    codec = "gb18030" if name.lower() in ("gb2312", "gbk") else name
    try:
        text = content[head.end() :].decode(codec)
    except UnicodeDecodeError:
        raise ValueError(f"is not in its declared encoding {name}") from None
    return b"\n" * content.count(b"\n", 0, head.end()) + text.encode()


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
