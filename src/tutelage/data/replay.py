"""Collates what is stored about the views of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.data.dataset import LoadedSample
from tutelage.data.envelope import THUMBNAIL, join, thumbnail, unseal
from tutelage.structures import Replay


def collate_replay(loaded: Sequence[LoadedSample], images: NDArray[np.uint8]) -> Replay | None:
    """Return the views of a batch and the records that are about these very pictures.

    Args:
        loaded: The samples.
        images: ``(b, h, w, 3)`` their canvases.

    Returns:
        None if the images have no views.
    """
    if any(each.view is None for each in loaded):
        return None
    size = images.shape[1], images.shape[2]
    thumbs = np.stack([thumbnail(image) for image in images])
    flips = torch.tensor([each.flips for each in loaded])
    stores = zip(*(each.records for each in loaded), strict=True)
    return Replay(
        view=torch.tensor([each.view for each in loaded], dtype=torch.int64),
        thumbnail=torch.from_numpy(thumbs).view(-1, THUMBNAIL),
        canvas=size,
        records=tuple(
            join([unseal(each, size, thumb) for each, thumb in zip(store, thumbs, strict=True)])
            for store in stores
        ),
        flips=flips if bool(flips.any()) else None,
    )
