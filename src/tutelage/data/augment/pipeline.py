"""The augmentation pipeline of a training sample."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tutelage.config.schema import AugmentConfig
from tutelage.data.augment.collage import Collage, Tile
from tutelage.data.augment.color import draw_gains, shift_hsv
from tutelage.data.augment.flip import flip
from tutelage.data.augment.geometry import draw_transform, view
from tutelage.data.augment.mixup import mixup
from tutelage.data.augment.mosaic import draw_mosaic4, draw_mosaic9
from tutelage.data.letterbox import Sample, letterbox_geometry, resize

Partner = Callable[[np.random.Generator], Sample]


def augment(
    first: Sample,
    rng: np.random.Generator,
    *,
    config: AugmentConfig,
    canvas_hw: tuple[int, int],
    partner: Partner | None,
) -> Sample:
    """Make a training sample: mosaic or letterbox, transformation, mixup, colour, flips.

    Args:
        first: The image; its longer side equals the canvas's.
        rng: The random generator.
        config: Probabilities and limits.
        canvas_hw: Height and width of the result; square if there is a ``partner``.
        partner: Draws further images for mosaic and mixup; None: neither is applied.
    """
    if partner is not None and rng.random() < config.mosaic:
        sample = _mosaic(first, rng, config, canvas_hw[0], partner)
        if rng.random() < config.mixup:
            second = _mosaic(partner(rng), rng, config, canvas_hw[0], partner)
            share = float(rng.beta(config.mixup_beta, config.mixup_beta))
            sample = mixup(sample, second, share)
    else:
        sample = _single(first, rng, config, canvas_hw)
    sample = sample._replace(image=shift_hsv(sample.image, draw_gains(config, rng)))
    up_down, left_right = (rng.random(2) < (config.flipud, config.fliplr)).tolist()
    return flip(sample, left_right=left_right, up_down=up_down)


def _mosaic(
    first: Sample, rng: np.random.Generator, config: AugmentConfig, size: int, partner: Partner
) -> Sample:
    nine = rng.random() < config.mosaic9
    samples = [first, *(partner(rng) for _ in range(8 if nine else 3))]
    collage = (draw_mosaic9 if nine else draw_mosaic4)(samples, size, rng)
    transform = draw_transform(config, rng)
    return view(collage, transform, (size, size), max_aspect=config.max_aspect)


def _single(
    sample: Sample, rng: np.random.Generator, config: AugmentConfig, canvas_hw: tuple[int, int]
) -> Sample:
    geometry = letterbox_geometry(sample.size_wh, canvas_hw)
    image = resize(sample.image, geometry.new_wh)
    placed = Sample(image, geometry.resized(sample.xyxy), sample.label)
    canvas_wh = (canvas_hw[1], canvas_hw[0])
    collage = Collage((Tile(placed, *geometry.pad),), canvas_wh)
    transform = draw_transform(config, rng)
    return view(collage, transform, canvas_wh, max_aspect=config.max_aspect)
