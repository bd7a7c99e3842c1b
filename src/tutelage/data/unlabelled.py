"""Mixes unlabelled images into every batch of labelled ones, at a given ratio."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from tutelage.data.dataset import DetectionDataset, LoadedSample
from tutelage.data.sampler import EpochBatches, EpochSampler, SampleKey, shard


class MixedDataset(Dataset[LoadedSample]):
    """The concatenation of two data sets; mosaic and mixup stay within each.

    Args:
        labelled: Positions 0 … n - 1.
        unlabelled: Positions from n on.
    """

    def __init__(self, labelled: DetectionDataset, unlabelled: DetectionDataset) -> None:
        self.labelled, self.unlabelled = labelled, unlabelled

    def __len__(self) -> int:
        return len(self.labelled) + len(self.unlabelled)

    def __getitem__(self, key: SampleKey) -> LoadedSample:
        first = len(self.labelled)
        if key.index < first:
            return self.labelled[key]
        loaded = self.unlabelled[SampleKey(key.epoch, key.index - first)]
        return loaded._replace(position=loaded.position + first)

    def enlarged(self, key: SampleKey, zoom: float) -> LoadedSample:
        """See :meth:`DetectionDataset.enlarged`."""
        first = len(self.labelled)
        if key.index < first:
            return self.labelled.enlarged(key, zoom)
        loaded = self.unlabelled.enlarged(SampleKey(key.epoch, key.index - first), zoom)
        return loaded._replace(position=loaded.position + first)

    def epoch_of(self, view: int, index: int) -> int:
        """See :meth:`DetectionDataset.epoch_of`."""
        part = self.labelled if index < len(self.labelled) else self.unlabelled
        return part.epoch_of(view, index)

    @property
    def unreadable(self) -> tuple[Path, ...]:
        """The images that could not be read so far."""
        return self.labelled.unreadable + self.unlabelled.unreadable


class MixedBatches(Sampler[list[SampleKey]]):
    """Batches of labelled images followed by unlabelled ones.

    Every labelled image occurs once per epoch. The unlabelled ones are repeated as often as
    needed, shuffled anew each time; the order depends on seed and epoch only. Every process gets
    its part of the labelled and of the unlabelled images of a batch.

    Args:
        labelled: Number of labelled images.
        unlabelled: Number of unlabelled images.
        batch: Labelled images per batch, over all processes.
        extra: Unlabelled images per batch, over all processes.
        seed: The run's seed.
        share: Rank of this process, and number of processes.
    """

    def __init__(
        self,
        labelled: int,
        unlabelled: int,
        *,
        batch: int,
        extra: int,
        seed: int = 0,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self._labelled = EpochBatches(EpochSampler(labelled, seed=seed), batch=batch, share=share)
        self._count, self._unlabelled = labelled, EpochSampler(unlabelled, seed=seed + 1)
        self._extra, self._share = extra, share
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._labelled)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        self._labelled.set_epoch(self.epoch)
        unlabelled = self._unlabelled_keys()
        for labelled in self._labelled:
            yield labelled + shard(list(islice(unlabelled, self._extra)), self._share)

    def rounds(self, epoch: int) -> range:
        """Return the numbers of the rounds of unlabelled images that an epoch shows, or begins."""
        shown = self._extra * len(self)
        start = epoch * self._rounds_apart
        return range(start, start - (-shown // len(self._unlabelled)))

    def shown(self, epoch: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Yield the rounds of an epoch, and the numbers of the unlabelled images that it shows."""
        left = self._extra * len(self)
        for number in self.rounds(epoch):
            yield number, self._unlabelled.order_of(number)[:left]
            left -= len(self._unlabelled)

    @property
    def _rounds_apart(self) -> int:
        """How far apart the first rounds of two epochs are."""
        images = self._labelled.batch * len(self._unlabelled)
        return -(-self._extra * self._count // images) + 1

    def _unlabelled_keys(self) -> Iterator[SampleKey]:
        """Yield the unlabelled images again and again, each round shuffled anew."""
        first = self._count
        for number in range(self.epoch * self._rounds_apart, np.iinfo(np.int64).max):
            self._unlabelled.set_epoch(number)
            # The key's epoch is the round, so that a repeated image is augmented differently.
            for key in self._unlabelled:
                yield SampleKey(number, first + key.index)
