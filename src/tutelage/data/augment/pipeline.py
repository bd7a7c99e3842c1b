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
    zoom: float = 1.0,
) -> Sample:
    """Make a training sample: mosaic or letterbox, transformation, mixup, colour, flips.

    With the same generator every ``zoom`` shows the same: pixel (x, y) shows what (x / zoom,
    y / zoom) shows without it, boxes are the same times ``zoom``, and everything is drawn from the
    pixels of the images. For that, give it the same images with a ``pixel_ratio`` of ``zoom`` or
    the next whole number.

    Args:
        first: The image; its longer side equals the canvas's.
        rng: The random generator.
        config: Probabilities and limits.
        canvas_hw: Height and width of the result at zoom 1; square if there is a ``partner``.
        partner: Draws further images for mosaic and mixup, with the ``pixel_ratio`` of ``first``;
            None: neither is applied.
        zoom: The result is so many times as large.
    """
    size = canvas_hw[0]
    if partner is not None and rng.random() < config.mosaic:
        sample = _mosaic(first, rng, config, size, partner, zoom)
        if rng.random() < config.mixup:
            second = _mosaic(partner(rng), rng, config, size, partner, zoom)
            share = float(rng.beta(config.mixup_beta, config.mixup_beta))
            sample = mixup(sample, second, share)
    else:
        sample = _single(first, rng, config, canvas_hw, zoom)
    sample = sample._replace(image=shift_hsv(sample.image, draw_gains(config, rng)))
    up_down, left_right = (rng.random(2) < (config.flipud, config.fliplr)).tolist()
    return flip(sample, left_right=left_right, up_down=up_down)


def _mosaic(
    first: Sample,
    rng: np.random.Generator,
    config: AugmentConfig,
    size: int,
    partner: Partner,
    zoom: float,
) -> Sample:
    nine = rng.random() < config.mosaic9
    samples = [first, *(partner(rng) for _ in range(8 if nine else 3))]
    collage = (draw_mosaic9 if nine else draw_mosaic4)(samples, size, rng)
    transform = draw_transform(config, rng)
    return view(collage, transform, (size, size), max_aspect=config.max_aspect, zoom=zoom)


def _single(
    sample: Sample,
    rng: np.random.Generator,
    config: AugmentConfig,
    canvas_hw: tuple[int, int],
    zoom: float,
) -> Sample:
    geometry = letterbox_geometry(sample.size_wh, canvas_hw)
    width, height = (side * sample.pixel_ratio for side in geometry.new_wh)
    image = resize(sample.image, (width, height))
    placed = sample._replace(image=image, xyxy=geometry.resized(sample.xyxy))
    canvas_wh = (canvas_hw[1], canvas_hw[0])
    collage = Collage((Tile(placed, *geometry.pad),), canvas_wh)
    transform = draw_transform(config, rng)
    return view(collage, transform, canvas_wh, max_aspect=config.max_aspect, zoom=zoom)
