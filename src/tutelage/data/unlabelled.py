"""Images without labels beside the labelled ones: in every batch, at a stated ratio."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset, Sampler

from tutelage.data.dataset import DetectionDataset, LoadedSample
from tutelage.data.sampler import EpochBatches, EpochSampler, Key, part


class MixedDataset(Dataset[LoadedSample]):
    """Two data sets one after the other; each is augmented with its own images only.

    Args:
        labelled: Positions 0 … n - 1.
        unlabelled: Positions from n on.
    """

    def __init__(self, labelled: DetectionDataset, unlabelled: DetectionDataset) -> None:
        self.labelled, self.unlabelled = labelled, unlabelled

    def __len__(self) -> int:
        return len(self.labelled) + len(self.unlabelled)

    def __getitem__(self, key: Key) -> LoadedSample:
        first = len(self.labelled)
        if key.index < first:
            return self.labelled[key]
        loaded = self.unlabelled[Key(key.epoch, key.index - first)]
        return loaded._replace(position=loaded.position + first)

    @property
    def unreadable(self) -> tuple[Path, ...]:
        """The images that could not be read so far."""
        return self.labelled.unreadable + self.unlabelled.unreadable


class MixedBatches(Sampler[list[Key]]):
    """Batches of labelled images, each followed by some without labels.

    Every labelled image comes once per epoch. The others go round as often as needed, in a new
    order each time; the order depends on seed and epoch only. Of several processes, each gets its
    part of the labelled images of a batch and its part of the others.

    Args:
        labelled: Number of labelled images.
        unlabelled: Number of the others.
        batch: Labelled images per batch, over all processes.
        extra: Images without labels per batch, over all processes.
        seed: The run's seed.
        share: The number of this process, and their count.
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
        """Choose the epoch that the next iteration is for."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._labelled)

    def __iter__(self) -> Iterator[list[Key]]:
        self._labelled.set_epoch(self.epoch)
        others = self._round()
        for ours in self._labelled:
            yield ours + part(list(islice(others, self._extra)), self._share)

    def _round(self) -> Iterator[Key]:
        """Yield images without labels for ever; the rounds of one epoch differ."""
        first, count = self._count, len(self._unlabelled)
        rounds = -(-self._extra * first // (self._labelled.batch * count)) + 1
        for number in range(self.epoch * rounds, np.iinfo(np.int64).max):
            self._unlabelled.set_epoch(number)
            # The key's epoch is the round: an image that comes again is augmented anew.
            for key in self._unlabelled:
                yield Key(number, first + key.index)
