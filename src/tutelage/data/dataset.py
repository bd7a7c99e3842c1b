"""Torch data sets: augmented training samples, and evaluation images, by :class:`SampleKey`."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from tutelage.config.schema import AugmentConfig
from tutelage.data.augment import augment
from tutelage.data.image import read_image
from tutelage.data.image_cache import ImageCache, read_training_image
from tutelage.data.index import DatasetIndex
from tutelage.data.letterbox import GREY, Letterbox, Sample, letterbox_geometry, resize
from tutelage.data.sampler import CLOSED, RectPlan, SampleKey, Views, flip_rng, sample_rng
from tutelage.errors import DataError
from tutelage.store.records import RecordReader

_log = logging.getLogger(__name__)
_ALWAYS_ALLOWED = 10  # unreadable images
_RESUME_FIX = "Put the files back, then go on with  tutelage train --resume"


class LoadedSample(NamedTuple):
    """A sample before collation.

    Attributes:
        sample: The image, not larger than the canvas.
        position: Its position in the index.
        canvas_hw: Height and width of its canvas.
        view: The view it shows; -1: none that recurs. None: images have no views.
        records: What each store of the run holds about it; None: nothing.
        flips: Whether its canvas is to be flipped left-right and up-down: no part of its view.
    """

    sample: Sample
    position: int
    canvas_hw: tuple[int, int]
    view: int | None = None
    records: tuple[bytes | None, ...] = ()
    flips: tuple[bool, bool] = (False, False)


class UnreadableError(DataError):
    """Too many images have become unreadable.

    Torch passes the exception of a worker process on as a traceback text; its last line is kept.
    """

    def __init__(self, what: str) -> None:
        last = what.rpartition(f"{type(self).__name__}: ")[2].strip()
        super().__init__(last.removesuffix(_RESUME_FIX).strip(), fix=_RESUME_FIX, code="D27")


class _IndexedDataset(Dataset[LoadedSample]):
    """A data set on an index that records unreadable images across worker processes."""

    def __init__(
        self, index: DatasetIndex, *, image_size: int, rect: RectPlan | None = None
    ) -> None:
        self.index, self.image_size, self.rect = index, image_size, rect
        self._failed = torch.zeros(len(index), dtype=torch.bool).share_memory_()

    def __len__(self) -> int:
        return len(self.index)

    @property
    def unreadable(self) -> tuple[Path, ...]:
        """The images that could not be read so far, in any worker process."""
        return tuple(self.index.path(int(i)) for i in self._failed.nonzero().flatten())

    def _record_failure(self, position: int) -> bool:
        """Record an unreadable image; return whether it is the first time."""
        first = not self._failed[position]
        self._failed[position] = True
        return first

    def _canvas(self, position: int) -> tuple[int, int]:
        if self.rect is None:
            return self.image_size, self.image_size
        height, width = self.rect.canvas_hw[position].tolist()
        return height, width


class DetectionDataset(_IndexedDataset):
    """Augmented training samples, each a pure function of the seed and its key.

    An image that has become unreadable is replaced by the next readable one and added to
    ``unreadable``. More than 10 of them that also exceed the allowed share end the run.

    Args:
        index: The data set.
        image_size: Length of an image's longer side; mosaics are squares of it.
        config: The augmentation.
        seed: The run's seed.
        close_from: First epoch without mosaic and mixup; None: never.
        rect: Canvases of similar shape; excludes mosaic and mixup.
        cache: Decoded images in RAM.
        unreadable: Allowed share of unreadable images.
        views: How many augmented versions of each image there are; None: a new one in every epoch.
        stores: Where the teachers' answers about the views are stored.
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
        views: Views | None = None,
        stores: Sequence[RecordReader] = (),
    ) -> None:
        super().__init__(index, image_size=image_size, rect=rect)
        self.config, self.seed, self.close_from, self.cache = config, seed, close_from, cache
        self._flips = np.array((config.fliplr, config.flipud))
        if views is not None and views.flips:
            self.config = config.model_copy(update={"fliplr": 0.0, "flipud": 0.0})
        self._allowed_share = unreadable
        self.views, self.stores = views, tuple(stores)
        self._epoch = -1

    def __getitem__(self, key: SampleKey) -> LoadedSample:
        loaded = self.enlarged(key, 1.0)
        if self.views is None:
            return loaded
        if self.views.flips:
            left_right, up_down = (flip_rng(self.seed, key).random(2) < self._flips).tolist()
            loaded = loaded._replace(flips=(left_right, up_down))
        if loaded.position != key.index:  # an unreadable image's substitute is no view of its own
            return loaded._replace(view=-1, records=(None,) * len(self.stores))
        if key.epoch != self._epoch:
            self._epoch = key.epoch
            for store in self.stores:
                store.refresh()
        view = self._view(key, self.views)
        records = tuple(store.read(view, key.index) for store in self.stores)
        return loaded._replace(view=view, records=records)

    def enlarged(self, key: SampleKey, zoom: float) -> LoadedSample:
        """Return the sample of a key at ``zoom`` times its size, drawn from the original pixels.

        It shows what the sample itself shows: box for box, pixel (x, y) at (zoom * x, zoom * y).
        """
        rng = sample_rng(self.seed, key)
        if self.views is not None:
            rng = sample_rng(self.views.seed, SampleKey(self._view(key, self.views), key.index))
        ratio = math.ceil(zoom)
        position, first = self._read(key.index, ratio)
        height, width = canvas_hw = self._canvas(key.index)
        alone = self._closed(key.epoch) or self.rect is not None
        sample = augment(
            first,
            rng,
            config=self.config,
            canvas_hw=canvas_hw,
            partner=None if alone else partial(self._partner, pixel_ratio=ratio),
            zoom=zoom,
        )
        return LoadedSample(sample, position, (round(height * zoom), round(width * zoom)))

    def epoch_of(self, view: int, index: int) -> int:
        """Return an epoch that shows a view of an image."""
        del index  # the same for all
        if self.views is None or view < CLOSED or self.close_from is None:
            return view
        return self.close_from + (view - CLOSED - self.close_from) % self.views.per_image

    def _closed(self, epoch: int) -> bool:
        return self.close_from is not None and epoch >= self.close_from

    def _view(self, key: SampleKey, views: Views) -> int:
        return views.number(key.epoch, closed=self._closed(key.epoch))

    def _partner(self, rng: np.random.Generator, *, pixel_ratio: int) -> Sample:
        return self._read(int(rng.integers(len(self.index))), pixel_ratio)[1]

    def _read(self, position: int, pixel_ratio: int) -> tuple[int, Sample]:
        total = len(self.index)
        for step in range(total):
            candidate = (position + step) % total
            try:
                return candidate, self._load(candidate, pixel_ratio)
            except DataError as error:
                if self._record_failure(candidate):
                    self._check_failures(error)
        raise UnreadableError(f"None of the {total} training images can be read any more.")

    def _check_failures(self, error: DataError) -> None:
        count, total = int(self._failed.sum()), len(self.index)
        if count > max(_ALWAYS_ALLOWED, self._allowed_share * total):
            what = f"{count} of {total} training images cannot be read any more, e.g. {error.what}"
            raise UnreadableError(f"{what}.")

    def _load(self, position: int, pixel_ratio: int) -> Sample:
        cached = self.cache.get(position) if self.cache is not None else None
        item = self.index.item(position)
        if pixel_ratio > 1 and max(item.size_wh) > self.image_size:  # the cached one is shrunk
            image = self._original(position, cached)
        elif cached is None:
            image = read_training_image(self.index, position, self.image_size)
        else:
            image = cached
        geometry = letterbox_geometry(item.size_wh, (self.image_size, self.image_size))
        width, height = (side * pixel_ratio for side in geometry.new_wh)
        image = resize(image, (width, height))
        return Sample(image, geometry.resized(item.xyxy), item.label, pixel_ratio)

    def _original(self, position: int, cached: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        """Read an image in full; one that cannot be read any more is shown as it is cached."""
        item = self.index.item(position)
        try:
            return read_image(item.path, item.size_wh, self.index.image_range)
        except DataError:
            if cached is None:
                raise
            self._record_failure(position)
            return cached


class EvaluationDataset(_IndexedDataset):
    """Every image once, resized, without augmentation.

    An image that has become unreadable is replaced by a grey one and reported; its boxes stay in
    the ground truth and count as missed.

    Args:
        index: The data set.
        image_size: Length of an image's longer side.
        rect: Canvases of similar shape; None: squares.
    """

    def __getitem__(self, key: SampleKey) -> LoadedSample:
        item = self.index.item(key.index)
        canvas_hw = self._canvas(key.index)
        geometry = self.letterbox(key.index, canvas_hw)
        try:
            image = read_image(item.path, item.size_wh, self.index.image_range)
            image = resize(image, geometry.new_wh, smooth=True)
        except DataError as error:
            if self._record_failure(key.index):
                _log.warning("%s It is evaluated as an empty grey image.", error)
            image = np.full((geometry.new_wh[1], geometry.new_wh[0], 3), GREY, np.uint8)
        sample = Sample(image, geometry.resized(item.xyxy), item.label)
        return LoadedSample(sample, key.index, canvas_hw)

    def letterbox(self, position: int, canvas_hw: tuple[int, int]) -> Letterbox:
        """Return the letterbox of an image on its batch's canvas, for mapping detections back."""
        width, height = self.index.sizes[position].tolist()
        return letterbox_geometry((width, height), canvas_hw, longest=self.image_size)
