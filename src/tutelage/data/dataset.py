"""The data sets that the loaders read: training samples by key, evaluation images by position."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from tutelage.config.schema import AugmentConfig
from tutelage.data.augment import augment
from tutelage.data.image import read_image
from tutelage.data.image_cache import ImageCache, read_training_image
from tutelage.data.index import DatasetIndex
from tutelage.data.letterbox import GREY, Letterbox, Sample, letterbox_geometry, resize
from tutelage.data.sampler import Key, RectPlan, sample_rng
from tutelage.errors import DataError

_log = logging.getLogger(__name__)
_BEARABLE = 10
_PUT_BACK = "Put the files back, then go on with  tutelage train --resume"


class LoadedSample(NamedTuple):
    """A sample on its way into a batch.

    Attributes:
        sample: The image, not larger than the canvas.
        position: Where it stands in the index.
        canvas_hw: Height and width of the canvas that it belongs on.
    """

    sample: Sample
    position: int
    canvas_hw: tuple[int, int]


class UnreadableError(DataError):
    """Too many images cannot be read any more.

    Torch hands on what a worker process raises as the text of a traceback: its last line is kept.
    """

    def __init__(self, what: str) -> None:
        last = what.rpartition(f"{type(self).__name__}: ")[2].strip()
        super().__init__(last.removesuffix(_PUT_BACK).strip(), fix=_PUT_BACK, code="D27")


class _Unreadable:
    """Remembers, across worker processes, which images could not be read.

    Args:
        index: The data set.
    """

    def __init__(self, index: DatasetIndex) -> None:
        self.index = index
        self.seen = torch.zeros(len(index), dtype=torch.bool).share_memory_()

    def new(self, position: int) -> bool:
        new = not self.seen[position]
        self.seen[position] = True
        return new

    def paths(self) -> tuple[Path, ...]:
        return tuple(self.index.path(int(i)) for i in self.seen.nonzero().flatten())


class DetectionDataset(Dataset[LoadedSample]):
    """Augmented training samples, each a pure function of the seed and its key.

    An image that cannot be read any more is replaced by the next readable one, and is listed in
    ``unreadable``. More than 10 of them that are more than the share that may be end the run.

    Args:
        index: The data set.
        image_size: Length of an image's longer side; mosaics are squares of it.
        config: The augmentation.
        seed: The run's seed.
        close_from: First epoch without mosaic and mixup (none: never closed).
        rect: Canvases of similar shape; excludes mosaic and mixup.
        cache: Decoded images in RAM.
        unreadable: Share of the images that may become unreadable.
    """

    def __init__(
        self,
        index: DatasetIndex,
        *,
        image_size: int,
        config: AugmentConfig,
        seed: int = 0,
        close_from: int | None = None,
        rect: RectPlan | None = None,
        cache: ImageCache | None = None,
        unreadable: float = 0.01,
    ) -> None:
        self.index, self.image_size, self.config = index, image_size, config
        self.seed, self.close_from, self.rect, self.cache = seed, close_from, rect, cache
        self._unreadable, self._bearable = _Unreadable(index), unreadable

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: Key) -> LoadedSample:
        rng = sample_rng(self.seed, key)
        position, first = self._read(key.index)
        canvas_hw = _canvas(self.rect, key.index, self.image_size)
        closed = self.close_from is not None and key.epoch >= self.close_from
        partner = None if closed or self.rect is not None else self._partner
        sample = augment(first, rng, config=self.config, canvas_hw=canvas_hw, partner=partner)
        return LoadedSample(sample, position, canvas_hw)

    @property
    def unreadable(self) -> tuple[Path, ...]:
        """The images that could not be read so far, in any worker process."""
        return self._unreadable.paths()

    def _partner(self, rng: np.random.Generator) -> Sample:
        return self._read(int(rng.integers(len(self.index))))[1]

    def _read(self, position: int) -> tuple[int, Sample]:
        total = len(self.index)
        for step in range(total):
            candidate = (position + step) % total
            try:
                return candidate, self._load(candidate)
            except DataError as error:
                if self._unreadable.new(candidate):
                    self._bear(error)
        raise UnreadableError(f"None of the {total} training images can be read any more.")

    def _bear(self, error: DataError) -> None:
        lost, total = int(self._unreadable.seen.sum()), len(self.index)
        if lost > max(_BEARABLE, self._bearable * total):
            what = f"{lost} of {total} training images cannot be read any more, e.g. {error.what}"
            raise UnreadableError(f"{what}.")

    def _load(self, position: int) -> Sample:
        cached = self.cache.get(position) if self.cache is not None else None
        if cached is None:
            cached = read_training_image(self.index, position, self.image_size)
        item = self.index.item(position)
        geometry = letterbox_geometry(item.size_wh, (self.image_size, self.image_size))
        return Sample(resize(cached, geometry.new_wh), geometry.resized(item.xyxy), item.label)


class EvaluationDataset(Dataset[LoadedSample]):
    """Every image once, as it is, resized.

    An image that cannot be read any more is shown all grey and reported: its boxes stay in the
    ground truth, so that they count as missed.

    Args:
        index: The data set.
        image_size: Length of an image's longer side.
        rect: Canvases of similar shape (none: squares).
    """

    def __init__(
        self, index: DatasetIndex, *, image_size: int, rect: RectPlan | None = None
    ) -> None:
        self.index, self.image_size, self.rect = index, image_size, rect
        self._unreadable = _Unreadable(index)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: Key) -> LoadedSample:
        item = self.index.item(key.index)
        canvas_hw = _canvas(self.rect, key.index, self.image_size)
        geometry = self.letterbox(key.index, canvas_hw)
        try:
            image = resize(read_image(item.path, item.size_wh), geometry.new_wh, smooth=True)
        except DataError as error:
            if self._unreadable.new(key.index):
                _log.warning("%s It is evaluated as an empty grey image.", error)
            image = np.full((geometry.new_wh[1], geometry.new_wh[0], 3), GREY, np.uint8)
        sample = Sample(image, geometry.resized(item.xyxy), item.label)
        return LoadedSample(sample, key.index, canvas_hw)

    @property
    def unreadable(self) -> tuple[Path, ...]:
        """The images that could not be read so far, in any worker process."""
        return self._unreadable.paths()

    def letterbox(self, position: int, canvas_hw: tuple[int, int]) -> Letterbox:
        """Return how an image lies on a batch's canvas; its inverse brings detections home."""
        width, height = self.index.sizes[position].tolist()
        return letterbox_geometry((width, height), canvas_hw, longest=self.image_size)


def _canvas(rect: RectPlan | None, position: int, image_size: int) -> tuple[int, int]:
    if rect is None:
        return image_size, image_size
    height, width = rect.canvas_hw[position].tolist()
    return height, width
