"""Draws the views of a batch once more, at a larger size, for teachers that see more."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from tutelage.data.dataset import DetectionDataset
from tutelage.data.loader import collate
from tutelage.data.sampler import SampleKey
from tutelage.data.unlabelled import MixedDataset
from tutelage.structures import Batch


class EnlargedViews:
    """Returns the images of a batch at ``zoom`` times their size, from the original pixels.

    Images that are no view, e.g. in place of an unreadable one, are interpolated.

    Args:
        dataset: The training images.
        zoom: Larger than 1.
        threads: Images that are drawn at the same time.
    """

    def __init__(
        self, dataset: DetectionDataset | MixedDataset, zoom: float, *, threads: int = 1
    ) -> None:
        self.zoom, self._dataset, self._threads = zoom, dataset, threads

    def __call__(self, batch: Batch) -> Tensor:
        """Return ``(b, 3, zoom * h, zoom * w)`` floats for a floating-point batch."""
        height, width = (round(self.zoom * side) for side in batch.image_size)
        if batch.replay is None:
            return _resize(batch.images, (height, width))
        views, ids = batch.replay.view.tolist(), batch.ids.tolist()
        keys = [
            SampleKey(self._dataset.epoch_of(view, image), image)
            for view, image in zip(views, ids, strict=True)
            if view >= 0
        ]
        if not keys:
            return _resize(batch.images, (height, width))
        with ThreadPoolExecutor(self._threads) as pool:
            samples = list(pool.map(lambda key: self._dataset.enlarged(key, self.zoom), keys))
        drawn = collate(samples).floating().images.to(batch.images.device)
        drawn = _resize(drawn, (height, width))  # after a change of the size of the batch
        if len(keys) == len(views):
            return drawn
        images = _resize(batch.images, (height, width))
        shown = torch.tensor([view >= 0 for view in views], device=images.device)
        return cast("Tensor", images.index_copy(0, shown.nonzero().flatten(), drawn))


def _resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    if images.shape[-2:] == size:
        return images
    larger = F.interpolate(images, size, mode="bilinear", align_corners=False)
    return larger.contiguous(memory_format=torch.channels_last)
