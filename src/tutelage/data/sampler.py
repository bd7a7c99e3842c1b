"""Samplers: the order of the images is a pure function of seed and epoch, for exact resuming."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

_TOLERANCE = 1e-9  # 480 / 640 * 640 must not round up to the next stride
_ORDER_STREAM, _FLIP_STREAM = 1, 2
CLOSED = 1 << 16
"""The numbers of views without mosaic and mixup start here."""


@dataclass(frozen=True, slots=True)
class SampleKey:
    """The key of a sample: it depends on nothing else but the run's seed.

    The epoch is part of the key because persistent workers would otherwise use a stale one.
    """

    epoch: int
    index: int


class Views(NamedTuple):
    """Every image has some augmented versions, its views, that recur in turn over the epochs.

    What a view shows depends on its number, the image and ``seed`` alone, so that what a teacher
    said about it holds in later epochs and in other runs, too.

    Attributes:
        per_image: Number of views of each image.
        seed: Seed of the views; the order of the images follows the seed of the run.
        flips: Views have no flips of their own: each epoch flips them anew.
    """

    per_image: int
    seed: int = 0
    flips: bool = False

    def number(self, epoch: int, *, closed: bool = False) -> int:
        """Return the view of an epoch; those without mosaic (``closed``) are others."""
        return epoch % self.per_image + closed * CLOSED


class RectPlan(NamedTuple):
    """Batches of images of similar shape.

    Attributes:
        order: ``(n,)`` int64, image positions by ascending aspect ratio h/w.
        canvas_hw: ``(n, 2)`` int64, height and width of the canvas of each image, by position.
    """

    order: NDArray[np.int64]
    canvas_hw: NDArray[np.int64]


class EpochSampler(Sampler[SampleKey]):
    """Every image once per epoch, in an order that depends on seed and epoch only.

    Args:
        count: Number of images.
        seed: The run's seed.
        order: ``(count,)`` fixed order of the positions; None: shuffled in every epoch.
    """

    def __init__(
        self, count: int, *, seed: int = 0, order: NDArray[np.int64] | None = None
    ) -> None:
        self.count, self.seed, self.order = count, seed, order
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[SampleKey]:
        epoch = self.epoch
        return (SampleKey(epoch, index) for index in self.order_of(epoch).tolist())

    def order_of(self, epoch: int) -> NDArray[np.int64]:
        """Return the positions in the order of an epoch, ``(count,)``."""
        if self.order is not None:
            return self.order
        # A stream of its own: numpy pads seeds with zeros, so (seed, epoch) is also sample
        # (epoch, 0)'s seed.
        entropy = (_unsigned(self.seed), epoch)
        sequence = np.random.SeedSequence(entropy, spawn_key=(_ORDER_STREAM,))
        return np.random.default_rng(sequence).permutation(self.count)


class EpochBatches(Sampler[list[SampleKey]]):
    """The batches of an epoch; every process gets its part of each batch.

    Content and number of the global batches do not depend on the number of processes.

    Args:
        sampler: The images in their order.
        batch: Images per batch, over all processes.
        share: Rank of this process, and number of processes.
    """

    def __init__(
        self, sampler: EpochSampler, *, batch: int, share: tuple[int, int] = (0, 1)
    ) -> None:
        self.sampler, self.batch, self.share = sampler, batch, share

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration."""
        self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.batch)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        keys = iter(self.sampler)
        while batch := list(islice(keys, self.batch)):
            yield shard(batch, self.share) or [batch[self.share[0] % len(batch)]]


def shard(keys: Sequence[SampleKey], share: tuple[int, int]) -> list[SampleKey]:
    """Return one process's contiguous part of a batch; sizes differ by at most one.

    Args:
        keys: The whole batch.
        share: Rank of the process, and number of processes. With more processes than keys, some
            parts are empty.
    """
    rank, processes = share
    count = len(keys)
    return list(keys[count * rank // processes : count * (rank + 1) // processes])


def sample_rng(seed: int, key: SampleKey) -> np.random.Generator:
    """Return the random generator of one sample."""
    return np.random.default_rng((_unsigned(seed), key.epoch, key.index))


def flip_rng(seed: int, key: SampleKey) -> np.random.Generator:
    """Return the random generator of the flips of a view in one epoch."""
    entropy = (_unsigned(seed), key.epoch, key.index)
    return np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=(_FLIP_STREAM,)))


def rect_plan(
    sizes: NDArray[np.int32], *, batch: int, image_size: int, stride: int = 32, pad: float = 0.0
) -> RectPlan:
    """Sort images by shape and give each batch the smallest canvas that holds its images.

    Args:
        sizes: ``(n, 2)`` width and height.
        batch: Images per batch.
        image_size: Length of an image's longer side on the canvas.
        stride: Canvas sides are multiples of it.
        pad: Extra room in strides, before rounding up.
    """
    width, height = sizes[:, 0].astype(np.float64), sizes[:, 1].astype(np.float64)
    ratio = height / width
    order = np.argsort(ratio, kind="stable")
    canvas = np.empty((len(sizes), 2), np.int64)
    for start in range(0, len(order), batch):
        members = order[start : start + batch]
        low, high = ratio[members].min(), ratio[members].max()
        shape = np.array([min(high, 1.0), min(1 / low, 1.0)])
        canvas[members] = stride * np.ceil(shape * image_size / stride + pad - _TOLERANCE)
    return RectPlan(order.astype(np.int64), canvas)


def _unsigned(seed: int) -> int:
    return seed % 2**64
