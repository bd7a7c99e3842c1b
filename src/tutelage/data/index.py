"""The columnar index of a data set: everything known without decoding an image."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutelage.data.bit_depth import ImageRange
from tutelage.data.findings import Finding

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class Ignored(IntEnum):
    """Why an object is not trained on, and a detection of it is neither right nor wrong."""

    NO = 0
    CROWD = 1  # COCO's iscrowd: matched by the share of the detection that lies inside
    DIFFICULT = 2  # VOC's difficult: matched by IoU


@dataclass(frozen=True, eq=False)
class IgnoredObjects:
    """The objects of a split that are ignored, in the order of their images.

    Attributes:
        image: ``(k,)`` int64 position of the image.
        label: ``(k,)`` int64 class.
        xyxy: ``(k, 4)`` float32, corners in pixels of the original image.
        kind: ``(k,)`` uint8 :class:`Ignored`.
    """

    image: NDArray[np.int64]
    label: NDArray[np.int64]
    xyxy: NDArray[np.float32]
    kind: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.image)

    def chosen(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> IgnoredObjects:
        """Return only these objects."""
        return IgnoredObjects(self.image[rows], self.label[rows], self.xyxy[rows], self.kind[rows])

    @classmethod
    def none(cls) -> IgnoredObjects:
        """Return no objects."""
        nothing = np.zeros(0, np.int64)
        return cls(nothing, nothing, np.zeros((0, 4), np.float32), nothing.astype(np.uint8))


class IndexedImage(NamedTuple):
    """One image of an index.

    Attributes:
        path: The image file.
        size_wh: Width and height of the image as displayed (EXIF orientation applied).
        xyxy: ``(n, 4)`` float32, corners in pixels of the original image.
        label: ``(n,)`` int64 class, a copy.
    """

    path: Path
    size_wh: tuple[int, int]
    xyxy: NDArray[np.float32]
    label: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class DatasetIndex:
    """Images and boxes of one split, in flat arrays that worker processes share without copying.

    Build one with :meth:`from_columns`; an :class:`IndexedImage` is a view made on access.

    Attributes:
        names: Class names.
        root: Folder that relative image paths refer to.
        source: The data set as the user gave it, e.g. the path of the data yaml.
        split: ``train``, ``val`` or ``test``.
        sizes: ``(n, 2)`` int32, width and height.
        file_sizes: ``(n,)`` int64, bytes of each image file.
        boxes: ``(m, 4)`` float32, corners in pixels of the original image.
        labels: ``(m,)`` int32, class.
        offsets: ``(n + 1,)`` int64; image ``i`` owns the boxes ``offsets[i]:offsets[i + 1]``.
        path_bytes: All image paths one after the other, in the file system's encoding.
        path_offsets: ``(n + 1,)`` int64 into ``path_bytes``.
        areas: ``(m,)`` float32, the area of each object in square pixels as its label file gives
            it, NaN where it does not; ``(0,)`` if none is given. Boxes stand in for it.
        ignored: Objects that only evaluations know.
        image_ids: ``(n,)`` the id of each image in its COCO json; ``(0,)`` if there is none.
        category_ids: The category id of each class in a COCO json; empty if there is none.
        findings: Problems found while opening.
        image_range: The values that are black and white in images of more than 8 bits; None: see
            :func:`~tutelage.data.bit_depth.black_and_white`.
    """

    names: tuple[str, ...]
    root: Path
    source: str
    split: str
    sizes: NDArray[np.int32]
    file_sizes: NDArray[np.int64]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int32]
    offsets: NDArray[np.int64]
    path_bytes: NDArray[np.uint8] = field(repr=False)
    path_offsets: NDArray[np.int64] = field(repr=False)
    areas: NDArray[np.float32]
    ignored: IgnoredObjects
    image_ids: NDArray[Any]
    category_ids: tuple[int | str, ...] = ()
    findings: tuple[Finding, ...] = ()
    image_range: ImageRange | None = None

    @classmethod
    def from_columns(
        cls,
        *,
        names: Sequence[str],
        root: Path,
        source: str,
        split: str,
        paths: Sequence[str | Path],
        sizes: NDArray[np.int32],
        file_sizes: NDArray[np.int64],
        boxes: NDArray[np.float32],
        labels: NDArray[np.int64],
        counts: NDArray[np.int64],
        areas: NDArray[np.float32] | None = None,
        ignored: IgnoredObjects | None = None,
        image_ids: Sequence[object] = (),
        category_ids: Sequence[int | str] = (),
        findings: Sequence[Finding] = (),
    ) -> DatasetIndex:
        """Build an index from ``n`` paths, ``(n,)`` boxes per image, and the columns of the class.

        Raises:
            ValueError: The lengths of the columns do not match.
        """
        if not len(paths) == len(sizes) == len(file_sizes) == len(counts):
            raise ValueError("expected one size, file size and box count per path")
        if not counts.sum() == len(boxes) == len(labels):
            raise ValueError(f"counts sum to {counts.sum()} boxes, got {len(boxes)}")
        if areas is None or not np.isfinite(areas).any():
            areas = np.zeros(0, np.float32)
        if len(areas) not in (0, len(boxes)) or len(image_ids) not in (0, len(paths)):
            raise ValueError("expected one area per box and one id per image, or none at all")
        prefix = os.fsencode(root) + os.fsencode(os.sep)
        encoded = [os.fsencode(path).removeprefix(prefix) for path in paths]
        return cls(
            names=tuple(names),
            root=root,
            source=source,
            split=split,
            sizes=np.ascontiguousarray(sizes, np.int32).reshape(-1, 2),
            file_sizes=np.ascontiguousarray(file_sizes, np.int64),
            boxes=np.ascontiguousarray(boxes, np.float32).reshape(-1, 4),
            labels=np.ascontiguousarray(labels, np.int32),
            offsets=_offsets(counts),
            path_bytes=np.frombuffer(b"".join(encoded), np.uint8),
            path_offsets=_offsets(np.array([len(path) for path in encoded], np.int64)),
            areas=np.ascontiguousarray(areas, np.float32),
            ignored=ignored or IgnoredObjects.none(),
            image_ids=np.array(image_ids, object if len({*map(type, image_ids)}) > 1 else None),
            category_ids=tuple(category_ids),
            findings=tuple(findings),
        )

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[IndexedImage]:
        return (self.item(position) for position in range(len(self)))

    def path(self, position: int) -> Path:
        """Return the file of the image at ``position``."""
        return self.root / self.name(position)

    def name(self, position: int) -> str:
        """Return the image's path relative to ``root`` (absolute if it lies elsewhere)."""
        start, end = self.path_offsets[position], self.path_offsets[position + 1]
        return os.fsdecode(self.path_bytes[start:end].tobytes())

    def item(self, position: int) -> IndexedImage:
        """Return the image at ``position``; its boxes are a view.

        Raises:
            IndexError: There is no such image.
        """
        if not 0 <= position < len(self):
            raise IndexError(f"image {position} of {len(self)}")
        width, height = self.sizes[position].tolist()
        rows = slice(int(self.offsets[position]), int(self.offsets[position + 1]))
        boxes, labels = self.boxes[rows], self.labels[rows].astype(np.int64)
        return IndexedImage(self.path(position), (width, height), boxes, labels)

    @property
    def counts(self) -> NDArray[np.int64]:
        """``(n,)`` boxes per image."""
        return np.diff(self.offsets)

    @property
    def class_counts(self) -> NDArray[np.int64]:
        """``(classes,)`` boxes per class."""
        return np.bincount(self.labels, minlength=len(self.names)).astype(np.int64)

    @cached_property
    def fingerprint(self) -> str:
        """Content hash over names, relative paths, file sizes, image sizes, range and boxes.

        It does not depend on where the data set lies or when it was written.
        """
        digest = hashlib.sha256("\0".join(self.names).encode())
        digest.update(b"" if self.image_range is None else str(self.image_range).encode())
        paths, files = (self.path_bytes, self.path_offsets), (self.file_sizes, self.sizes)
        labels = self.labels.astype(np.int64)
        _update(digest, *paths, *files, self.offsets, labels, self.boxes)
        return digest.hexdigest()

    @cached_property
    def images_fingerprint(self) -> str:
        """Content hash over relative paths, file and image sizes and range, without labels."""
        digest = hashlib.sha256(str(self.image_range).encode())
        _update(digest, self.path_bytes, self.path_offsets, self.file_sizes, self.sizes)
        return digest.hexdigest()

    @cached_property
    def evaluation_fingerprint(self) -> str:
        """The fingerprint together with what only evaluations use: areas and ignored objects."""
        if not len(self.areas) and not len(self.ignored):
            return self.fingerprint
        digest = hashlib.sha256(self.fingerprint.encode())
        kinds = (self.ignored.image, self.ignored.label, self.ignored.kind)
        _update(digest, self.areas, *kinds, self.ignored.xyxy)
        return digest.hexdigest()

    def subset(self, positions: Sequence[int] | NDArray[np.int64]) -> DatasetIndex:
        """Return an index of only these images, in this order, with the same findings."""
        chosen = np.asarray(positions, np.int64).reshape(-1)
        rows = _gather(self.offsets, chosen)
        characters = _gather(self.path_offsets, chosen)
        ignored_counts = np.bincount(self.ignored.image, minlength=len(self))
        ignored = self.ignored.chosen(_gather(_offsets(ignored_counts), chosen))
        owner = np.repeat(np.arange(len(chosen)), ignored_counts[chosen])
        return replace(
            self,
            sizes=self.sizes[chosen],
            file_sizes=self.file_sizes[chosen],
            boxes=self.boxes[rows],
            labels=self.labels[rows],
            offsets=_offsets(self.counts[chosen]),
            path_bytes=self.path_bytes[characters],
            path_offsets=_offsets(np.diff(self.path_offsets)[chosen]),
            areas=self.areas[rows] if len(self.areas) else self.areas,
            ignored=replace(ignored, image=owner),
            image_ids=self.image_ids[chosen] if len(self.image_ids) else self.image_ids,
        )


def _update(digest: Any, *columns: NDArray[Any]) -> None:
    for column in columns:
        digest.update(str(column.shape).encode())
        digest.update(column.tobytes())


def _offsets(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])


def _gather(offsets: NDArray[np.int64], chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the flat positions of all rows that belong to the chosen groups."""
    starts, counts = offsets[:-1][chosen], np.diff(offsets)[chosen]
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(starts, counts) + within
