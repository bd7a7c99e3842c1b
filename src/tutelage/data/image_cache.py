"""A cache of decoded images in RAM, within a budget, shared by all worker processes."""

from __future__ import annotations

import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.data.image import read_image
from tutelage.data.index import DatasetIndex
from tutelage.data.letterbox import fit_wh, resize
from tutelage.errors import DataError

START_METHOD = "fork" if sys.platform == "linux" else "spawn"
"""Start method of loader workers. Forked ones need no shared memory, which containers limit."""

_log = logging.getLogger(__name__)
_THREADS = min(8, os.cpu_count() or 1)
_GIB = 2**30


def training_size(size_wh: tuple[int, int], image_size: int) -> tuple[int, int]:
    """Return the size of a training image in memory: at most ``image_size``, never enlarged."""
    return fit_wh(size_wh, image_size) if max(size_wh) > image_size else size_wh


def read_training_image(index: DatasetIndex, position: int, image_size: int) -> NDArray[np.uint8]:
    """Decode an image and shrink it until its longer side is at most ``image_size``.

    Raises:
        DataError: It cannot be read.
    """
    item = index.item(position)
    image = read_image(item.path, item.size_wh, index.image_range)
    return resize(image, training_size(item.size_wh, image_size))


class ImageCache:
    """The first images of an index, decoded, in one block of memory.

    Forked workers share the block without a copy; for spawned ones it is in shared memory.

    Args:
        index: The data set.
        image_size: Images are shrunk to this length of the longer side.
        gib: Memory budget of this process in GiB; images beyond it are not cached.

    Attributes:
        kept: Number of images that fit.
    """

    def __init__(self, index: DatasetIndex, *, image_size: int, gib: float) -> None:
        self.shapes = np.array(
            [training_size((w, h), image_size)[::-1] for w, h in index.sizes.tolist()], np.int64
        ).reshape(-1, 2)
        ends = np.cumsum(self.shapes.prod(axis=1) * 3)
        self.kept = int(np.searchsorted(ends, gib * _GIB, side="right"))
        self.starts = np.concatenate([np.zeros(1, np.int64), ends])
        self.block = torch.empty(int(self.starts[self.kept]), dtype=torch.uint8)
        if START_METHOD != "fork":
            self.block.share_memory_()
        self.filled = np.zeros(len(index), np.bool_)
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda i: self._fill(index, i, image_size), range(self.kept)))
        if self.kept < len(index):
            note = (
                f"The image cache of {gib:g} GiB holds {self.kept:,} of {len(index):,} images; "
                f"all of them need {self.starts[-1] / _GIB:.3g} GiB (train.cache_gib)."
            )
            _log.warning("%s", note)

    def get(self, position: int) -> NDArray[np.uint8] | None:
        """Return the read-only image at ``position``, or None if it is not cached."""
        return self._slot(position) if self.filled[position] else None

    def _fill(self, index: DatasetIndex, position: int, image_size: int) -> None:
        try:
            image = read_training_image(index, position, image_size)
        except DataError:  # raised again when the image is read for a batch
            return
        slot = self._slot(position)
        slot.flags.writeable = True
        slot[:] = image
        self.filled[position] = True

    def _slot(self, position: int) -> NDArray[np.uint8]:
        start, end = self.starts[position], self.starts[position + 1]
        height, width = self.shapes[position].tolist()
        slot = self.block[start:end].numpy().reshape(height, width, 3)
        slot.flags.writeable = False
        return slot
