"""What the packages exchange: batches, outputs, predictions, losses, detections.

NamedTuples, because DDP, Accelerate, pytree and torch.compile all support them; but detections,
which are a sequence of boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, NamedTuple, Self, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tutelage.errors import MissingExtraError


class Targets(NamedTuple):
    """All ground-truth boxes of a batch, flat.

    Attributes:
        image: ``(n,)`` int64, index of the box's image within the batch.
        label: ``(n,)`` int64, class.
        xyxy: ``(n, 4)`` float32, corners in pixels of the batch canvas.
    """

    image: Tensor
    label: Tensor
    xyxy: Tensor

    def to(self, device: torch.device | str) -> Targets:
        """Return the targets on ``device``."""
        return Targets(*(field.to(device, non_blocking=True) for field in self))


class Records(NamedTuple):
    """What is stored of a batch, one record per image.

    Attributes:
        content: ``(n,)`` uint8, the records one after another.
        length: ``(b,)`` int64, bytes of each image's record; -1: there is none.
    """

    content: Tensor
    length: Tensor


class Replay(NamedTuple):
    """Which views a batch shows, and what is stored of the teachers' answers about them.

    Attributes:
        view: ``(b,)`` int64, the view of each image; -1: none that recurs.
        thumbnail: ``(b, 48)`` uint8, its pixels averaged over 4 x 4 fields.
        canvas: Height and width of the images as they were loaded.
        records: One per store of the run.
        flips: ``(b, 2)`` bool, whether each view was then flipped left-right and up-down; records
            and thumbnails are of the views themselves. None: none was.
    """

    view: Tensor
    thumbnail: Tensor
    canvas: tuple[int, int]
    records: tuple[Records, ...] = ()
    flips: Tensor | None = None


class Batch(NamedTuple):
    """A batch of images.

    Attributes:
        images: ``(b, 3, h, w)`` RGB, uint8 0..255 until :meth:`floating`.
        targets: Ground-truth boxes in pixels of the canvas ``(h, w)``.
        ids: ``(b,)`` int64, index of each image in its data set.
        replay: Which views it shows, if the images have a number of views that recur.
    """

    images: Tensor
    targets: Targets
    ids: Tensor
    replay: Replay | None = None

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        return height_width(self.images)

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on ``device``."""
        images, ids = (x.to(device, non_blocking=True) for x in (self.images, self.ids))
        return self._replace(images=images, targets=self.targets.to(device), ids=ids)

    def floating(self) -> Batch:
        """Return the batch with float32 channels-last images in 0..1; itself if it is floating."""
        if self.images.is_floating_point():
            return self
        images = self.images.contiguous(memory_format=torch.channels_last).float().div_(255)
        return self._replace(images=images)


def height_width(images: Tensor) -> tuple[int, int]:
    """Return height and width of images ``(b, c, h, w)``."""
    return int(images.shape[-2]), int(images.shape[-1])


class Tap(NamedTuple):
    """A layer whose output a network can return: key, channels, stride in pixels."""

    key: str
    channels: int
    stride: int


class Output(NamedTuple):
    """Output of a detector.

    Attributes:
        raw: Logits ``(b, anchors, ny, nx, 5 + classes)`` per level; None: the head was not run. In
            training, the auxiliary levels of a head that has them follow.
        taps: The requested features ``(b, c, h, w)``, in the requested order.
    """

    raw: tuple[Tensor, ...] | None
    taps: tuple[Tensor, ...]


class Predictions(NamedTuple):
    """Dense decoded predictions before NMS, differentiable; the same form for all detectors.

    Attributes:
        xyxy: ``(b, n, 4)`` corners in pixels of the canvas.
        logits: ``(b, n, c)`` class logits.
        objectness: ``(b, n)`` objectness logits, or None for heads without objectness.
        level: ``(n,)`` int64, the pyramid level of each candidate; on the CPU, so that counting
            them needs no synchronisation.
        box_raw: ``(b, n, 4)`` the head's own box outputs before decoding, or None.
        bins: ``(b, n, 4, r)`` distribution logits, or None.
        grids: Rows and columns of each level, if the head predicts per cell; candidates are then
            ordered by level, anchor, row, column. None: candidates belong to no cells.
        known: ``(b, n)`` bool, the candidates whose box is known; the others are background. None:
            all are known.
    """

    xyxy: Tensor
    logits: Tensor
    objectness: Tensor | None
    level: Tensor
    box_raw: Tensor | None = None
    bins: Tensor | None = None
    grids: tuple[tuple[int, int], ...] | None = None
    known: Tensor | None = None


class Knowledge(NamedTuple):
    """Features and predictions of one network for a batch.

    Attributes:
        features: One ``(b, c, h, w)`` map per tap.
        predictions: Decoded predictions, if requested.
        head: The frozen layers of a teacher after its taps, differentiable in their input: one map
            per tap, None for taps that keep the teacher's own. None: not available.
        answers: Of a student in training: maps boxes to the index of the box that the detection
            loss assigns to each candidate, ``(b, n)`` int64, -1: none.
        threshold: Of a teacher: its detections that score less are taken for background where the
            student has other candidates. None: not measured.
    """

    features: tuple[Tensor, ...]
    predictions: Predictions | None = None
    head: Callable[[tuple[Tensor | None, ...]], Predictions] | None = None
    answers: Callable[[Targets], Tensor] | None = None
    threshold: float | None = None


class Losses(NamedTuple):
    """Named loss terms of one step, each a batch mean, weights applied.

    Attributes:
        detection: The terms of the detection loss.
        distillation: The terms of the active methods, as ``method/term``.
    """

    detection: dict[str, Tensor]
    distillation: dict[str, Tensor]


class Detection(NamedTuple):
    """One box.

    Attributes:
        xyxy: Its corners x1, y1, x2, y2 in pixels.
        score: In 0..1.
        label: The number of its class.
        name: The name of its class; empty if it is not known.
    """

    xyxy: tuple[float, float, float, float]
    score: float
    label: int
    name: str


@dataclass(frozen=True, eq=False)
class Detections:
    """The detections on one image, best score first: a sequence of boxes.

    ``len(found)`` is the number of boxes and ``for box in found`` yields each of them. A position
    gives a box, ``found[0].name``; a slice, positions or a mask give fewer detections,
    ``found[found.score > 0.5]``.

    Attributes:
        xyxy: ``(n, 4)`` corners in pixels of the original image.
        score: ``(n,)`` in 0..1, descending.
        label: ``(n,)`` int64 class.
        names: The class names, if known.
    """

    xyxy: Tensor
    score: Tensor
    label: Tensor
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.score)

    def __iter__(self) -> Iterator[Detection]:
        labels = self.label.tolist()
        for xyxy, score, label in zip(self.xyxy.tolist(), self.score.tolist(), labels, strict=True):
            yield Detection(tuple(xyxy), score, label, self.names[label] if self.names else "")

    @overload
    def __getitem__(self, index: int) -> Detection: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | Tensor | NDArray[Any]) -> Self: ...
    def __getitem__(self, index: int | slice | Sequence[int] | Tensor | NDArray[Any]) -> Any:
        rows = index if isinstance(index, slice | Tensor) else torch.as_tensor(np.asarray(index))
        if isinstance(rows, Tensor) and rows.ndim == 0:
            return next(iter(self[[int(rows)]]))
        if isinstance(rows, Tensor) and not len(rows):
            rows = rows.long()  # an empty list has no type of its own
        return replace(self, xyxy=self.xyxy[rows], score=self.score[rows], label=self.label[rows])

    def to_supervision(self) -> Any:
        """Convert to ``supervision.Detections``, with the names as ``class_name``.

        Raises:
            MissingExtraError: The package is not installed.
        """
        try:
            supervision: Any = import_module("supervision")
        except ImportError as error:
            raise MissingExtraError(
                "supervision is not installed.", fix="pip install 'tutelage[supervision]'"
            ) from error
        label = self.label.cpu().numpy()
        return supervision.Detections(
            xyxy=self.xyxy.cpu().numpy(),
            confidence=self.score.cpu().numpy(),
            class_id=label,
            data={"class_name": np.array(self.names, str)[label]} if self.names else {},
        )
