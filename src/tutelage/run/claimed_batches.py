"""What a run will show its teachers, in parts that processes claim, and the batches of these."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutelage.data.sampler import SampleKey
from tutelage.run.stored_answers import pictures_of
from tutelage.setup.build import RunParts
from tutelage.setup.pictures import Masks
from tutelage.store.claims import Claims
from tutelage.teachers.stored import StoredTeachers, ViewStore

CHUNK = 64  # images of a view that one process asks about; the same for all who share a store
_VIEW_PARTS, _DATA_PARTS = 1 << 24, 1 << 48  # numbers of the parts of a view, of a data set


class Part(NamedTuple):
    """Images of one view that one process asks about.

    Attributes:
        number: Of the claim.
        view: The view.
        images: (n,) their numbers in their own data set.
        data: Which data set.
    """

    number: int
    view: int
    images: NDArray[np.int64]
    data: Data


class Data(NamedTuple):
    """The images with labels, or those without.

    Attributes:
        first: The id of the first.
        order: (n,) the images in the order in which they are asked about.
        pictures: By view, which images are shown, (n,).
        stores: What holds the answers.
    """

    first: int
    order: NDArray[np.int64]
    pictures: Masks
    stores: tuple[ViewStore, ...]

    def lacking(self, view: int) -> NDArray[np.bool_]:
        """Return which images are shown in a view and lack an answer about it, (n,)."""
        present = [store.reader.present(view) for store in self.stores]
        return self.pictures[view] & ~np.logical_and.reduce(present)

    def refresh(self) -> None:
        """Take in what any process has stored since."""
        for store in self.stores:
            store.reader.refresh()


class Work:
    """All pictures that a run shows, and what is stored about them."""

    def __init__(self, parts: RunParts, teachers: StoredTeachers) -> None:
        self.dataset = parts.loader.dataset
        rect = None if parts.unlabelled is not None else self.dataset.rect
        self.canvas = rect.canvas_hw if rect is not None else None
        order = rect.order if rect is not None else np.arange(len(parts.train))
        stores = tuple(memory.labelled for memory in teachers.memories)
        pictures = pictures_of(parts)
        self.data = [Data(0, order, pictures.labelled, stores)]
        if parts.unlabelled is not None:
            count, first = len(parts.unlabelled), len(parts.train)
            stores = tuple(m.unlabelled for m in teachers.memories if m.unlabelled is not None)
            self.data.append(Data(first, np.arange(count), pictures.unlabelled, stores))
        self.total = pictures.total
        stored = [store for each in self.data for store in each.stores]
        self.folders = tuple(dict.fromkeys(str(store.folder) for store in stored))

    @property
    def views(self) -> tuple[int, int]:
        """How many views of the images with labels, and of those without."""
        labelled, *others = (len(each.pictures) for each in self.data)
        return labelled, sum(others)

    @property
    def images(self) -> tuple[int, int]:
        """How many images with labels, and without."""
        return len(self.data[0].order), len(self.data[1].order) if len(self.data) > 1 else 0

    def present(self) -> int:
        """Return about how many pictures everything is stored, by any process."""
        lacking = 0
        for data in self.data:
            data.refresh()
            lacking += sum(int(data.lacking(view).sum()) for view in data.pictures)
        return self.total - lacking

    def parts(self) -> Iterator[Part]:
        """Yield all parts; their numbers are the same in all processes."""
        for which, data in enumerate(self.data):
            for view in data.pictures:
                for place in range(0, len(data.order), CHUNK):
                    number = which * _DATA_PARTS + view * _VIEW_PARTS + place // CHUNK
                    yield Part(number, view, data.order[place : place + CHUNK], data)


class ClaimedBatches:
    """The batches of the parts that this process can claim; a part is claimed when it is reached.

    Attributes:
        parts: Those that are neither done nor tried by this process.
    """

    def __init__(self, work: Work, claims: Claims, batch: int) -> None:
        self._work, self._claims, self._batch = work, claims, batch
        self._begun: deque[list[int]] = deque()  # number of a part, and its batches to come
        self.parts = list(work.parts())

    def __iter__(self) -> Iterator[list[SampleKey]]:
        parts, self.parts = self.parts, []
        for part in parts:
            if not part.data.lacking(part.view)[part.images].any():
                continue
            if not self._claims.take(part.number):
                self.parts.append(part)
                continue
            part.data.refresh()
            images = part.images[part.data.lacking(part.view)[part.images]]
            batches = list(self._split(images))
            if not batches:
                self._claims.release(part.number)
                continue
            self._begun.append([part.number, len(batches)])
            for batch in batches:
                ids = [part.data.first + image for image in batch]
                epoch_of = self._work.dataset.epoch_of
                yield [SampleKey(epoch_of(part.view, each), each) for each in ids]

    def batch_done(self) -> None:
        """Note that the answers about the next batch, in their order, are stored."""
        self._begun[0][1] -= 1
        if not self._begun[0][1]:
            self._claims.release(self._begun.popleft()[0])

    def _split(self, images: NDArray[np.int64]) -> Iterator[list[int]]:
        """Yield batches of images on canvases of one size."""
        canvas = self._work.canvas
        start = 0
        for end in range(1, len(images) + 1):
            full = end - start == self._batch or end == len(images)
            if full or (
                canvas is not None and (canvas[images[end]] != canvas[images[start]]).any()
            ):
                yield images[start:end].tolist()
                start = end
