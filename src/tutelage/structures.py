"""The data that flows through training. Data only: no behaviour beyond trivial conversions.

NamedTuples, because DDP, Accelerate, pytree and torch.compile all understand them.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import torch
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
        """Return the same targets on ``device``."""
        return Targets(*(field.to(device, non_blocking=True) for field in self))


class Batch(NamedTuple):
    """A batch of images.

    Attributes:
        images: ``(b, 3, h, w)`` RGB, uint8 0..255 until :meth:`floating`.
        targets: The boxes in pixels of the canvas ``(h, w)``.
        ids: ``(b,)`` int64, position of each image in its data set index.
    """

    images: Tensor
    targets: Targets
    ids: Tensor

    def floating(self) -> Batch:
        """Return the batch with float32 channels-last images in 0..1; floating ones stay."""
        if self.images.is_floating_point():
            return self
        images = self.images.contiguous(memory_format=torch.channels_last).float().div_(255)
        return self._replace(images=images)


class Tap(NamedTuple):
    """A place in a network whose output can be asked for: key, channels, stride in pixels."""

    key: str
    channels: int
    stride: int


class Output(NamedTuple):
    """What a detector returns.

    Attributes:
        raw: Logits ``(b, anchors, ny, nx, 5 + classes)`` per level; None: the head was not run. In
            training, those of auxiliary levels follow, where the head has them.
        taps: The features asked for, ``(b, c, h, w)``, in the order asked for.
    """

    raw: tuple[Tensor, ...] | None
    taps: tuple[Tensor, ...]


class Predictions(NamedTuple):
    """Dense decoded predictions before NMS, differentiable; the common tongue of all detectors.

    Attributes:
        xyxy: ``(b, n, 4)`` corners in pixels of the canvas.
        logits: ``(b, n, c)`` class logits.
        objectness: ``(b, n)`` objectness logits, or None for heads without objectness.
        level: ``(n,)`` int64, the pyramid level of each candidate; on the CPU, where counting them
            does not wait for the accelerator.
        box_raw: ``(b, n, 4)`` the head's own box outputs before decoding, or None.
        bins: ``(b, n, 4, r)`` distribution logits, or None.
        grids: Rows and columns of each level, of a head that predicts cell by cell; candidates are
            then ordered by level, anchor, row, column. None: they belong to no cells.
    """

    xyxy: Tensor
    logits: Tensor
    objectness: Tensor | None
    level: Tensor
    box_raw: Tensor | None = None
    bins: Tensor | None = None
    grids: tuple[tuple[int, int], ...] | None = None


class Knowledge(NamedTuple):
    """What a network knows about a batch.

    Attributes:
        features: One ``(b, c, h, w)`` map per tap.
        predictions: Its decoded predictions, if asked for.
        head: The frozen rest of a teacher from given features on, differentiable in its input:
            one map per tap, None for taps that are not replaced. None: the teacher has no such.
        answers: Of a student in training: which of given boxes each candidate would answer for in
            its detection loss, ``(b, n)`` int64, -1: none of them.
    """

    features: tuple[Tensor, ...]
    predictions: Predictions | None = None
    head: Callable[[tuple[Tensor | None, ...]], Predictions] | None = None
    answers: Callable[[Targets], Tensor] | None = None


class Losses(NamedTuple):
    """Named loss terms of one step, each a batch mean, weights applied."""

    detection: dict[str, Tensor]
    distillation: dict[str, Tensor]


class Detections(NamedTuple):
    """The final detections of one image.

    Attributes:
        xyxy: ``(n, 4)`` corners in pixels of the original image.
        score: ``(n,)`` in 0..1, descending.
        label: ``(n,)`` int64 class.
        names: The class names, where they are known.
    """

    xyxy: Tensor
    score: Tensor
    label: Tensor
    names: tuple[str, ...] = ()

    def to_supervision(self) -> Any:
        """Return the same as ``supervision.Detections``, with the names as ``class_name``.

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
