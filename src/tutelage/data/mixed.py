"""Images without labels beside the labelled ones: in every batch, at a stated ratio."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset, Sampler

from tutelage.data.dataset import DetectionDataset, Loaded
from tutelage.data.sampling import EpochSampler, Key


class MixedDataset(Dataset[Loaded]):
    """Two data sets one after the other; each is augmented with its own images only.

    Args:
        labelled: Positions 0 … n - 1.
        unlabelled: Positions from n on.
    """

    def __init__(self, labelled: DetectionDataset, unlabelled: DetectionDataset) -> None:
        self.labelled, self.unlabelled = labelled, unlabelled

    def __len__(self) -> int:
        return len(self.labelled) + len(self.unlabelled)

    def __getitem__(self, key: Key) -> Loaded:
        first = len(self.labelled)
        if key.index < first:
            return self.labelled[key]
        loaded = self.unlabelled[Key(key.epoch, key.index - first)]
        return loaded._replace(position=loaded.position + first)

    @property
    def unreadable(self) -> tuple[Path, ...]:
        """The images that could not be read so far."""
        return self.labelled.unreadable + self.unlabelled.unreadable


class MixedSampler(Sampler[Key]):
    """Batches of labelled images, each followed by some without labels.

    Every labelled image comes once per epoch. The others go round as often as needed, in a new
    order each time; the order depends on seed and epoch only.

    Args:
        labelled: Number of labelled images.
        unlabelled: Number of the others.
        batch: Labelled images per batch.
        extra: Images without labels per batch.
        seed: The run's seed.
    """

    def __init__(
        self, labelled: int, unlabelled: int, *, batch: int, extra: int, seed: int = 0
    ) -> None:
        self._labelled = EpochSampler(labelled, seed=seed)
        self._unlabelled = EpochSampler(unlabelled, seed=seed + 1)
        self._batch, self._extra = batch, extra
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration is for."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._labelled) + self._extra * -(-len(self._labelled) // self._batch)

    def __iter__(self) -> Iterator[Key]:
        self._labelled.set_epoch(self.epoch)
        ours, others = iter(self._labelled), self._round()
        while batch := list(islice(ours, self._batch)):
            yield from batch
            yield from islice(others, self._extra)

    def _round(self) -> Iterator[Key]:
        """Yield images without labels for ever; the rounds of one epoch differ."""
        first, count = len(self._labelled), len(self._unlabelled)
        rounds = -(-self._extra * len(self._labelled) // (self._batch * count)) + 1
        for number in range(self.epoch * rounds, np.iinfo(np.int64).max):
            self._unlabelled.set_epoch(number)
            # The key's epoch is the round: an image that comes again is augmented anew.
            for key in self._unlabelled:
                yield Key(number, first + key.index)
