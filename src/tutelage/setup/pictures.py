"""The pictures that a run shows its teachers: which views of which images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutelage.config.schema import Config
from tutelage.data.sampler import Views
from tutelage.data.unlabelled import MixedBatches
from tutelage.setup.views import taught_epochs, views_taught

Masks = Mapping[int, NDArray[np.bool_]]
"""By view, which images of a data set are shown, ``(n,)``."""


class Pictures(NamedTuple):
    """The views that a run shows while its methods act.

    Attributes:
        labelled: Of the training images; all of them.
        unlabelled: Of the images without labels. With few per batch an epoch shows a part of them,
            in an order that follows from the seed of the run, and some views may never come.
    """

    labelled: Masks
    unlabelled: Masks

    @property
    def total(self) -> int:
        """Number of pictures."""
        return sum(int(mask.sum()) for part in self for mask in part.values())


def pictures_shown(config: Config, views: Views | None, images: tuple[int, int]) -> Pictures:
    """Return the pictures of a run.

    Args:
        config: All settings.
        views: The views of its images.
        images: How many have labels, and how many have none.
    """
    labelled, unlabelled = images
    if views is None:
        return Pictures({}, {})
    taught = {view: np.ones(labelled, bool) for view in views_taught(config, views)}
    return Pictures(taught, _unlabelled(config, views, images) if unlabelled else {})


def extra_images(config: Config, labelled: int) -> int:
    """Return the images without labels per batch of some images with labels."""
    return max(round(config.distill.images_ratio * labelled), 1)


def _unlabelled(config: Config, views: Views, images: tuple[int, int]) -> Masks:
    labelled, unlabelled = images
    batch = min(config.train.images, labelled)
    batches = MixedBatches(
        *images,
        batch=batch,
        extra=extra_images(config, batch),
        seed=config.train.seed,
    )
    closing = config.augment.close_mosaic
    close_from = config.train.epochs - closing if closing else None

    def view_of(number: int) -> int:  # a round counts as an epoch
        return views.number(number, closed=close_from is not None and number >= close_from)

    epochs = range(taught_epochs(config))
    masks = {
        view_of(number): np.zeros(unlabelled, bool) for e in epochs for number in batches.rounds(e)
    }
    lacking = len(masks)
    for epoch in epochs:
        for number, shown in batches.shown(epoch):
            mask = masks[view_of(number)]
            lacking -= not mask.all()
            mask[shown] = True
            lacking += not mask.all()
        if not lacking:
            break
    return dict(sorted(masks.items()))
