"""Advice for a short training on few images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tutelage.config.overrides import DEFAULT, origin_of
from tutelage.config.schema import Config

IMAGES, STEPS = 1000, 5000  # with fewer of both, mosaic did harm, a rate of 0.01 was too small


def advise_preset(
    config: Config, origins: Mapping[str, str] | None, images: int, steps: int
) -> Iterator[str]:
    """Yield that mosaic and a small learning rate need a longer training, if the preset has them.

    Args:
        config: All settings.
        origins: Where each came from; without them nothing is said.
        images: Training images.
        steps: Batches of the whole run.
    """
    origin = origin_of("augment.mosaic", origins) if origins else ""
    given = origin != DEFAULT and not origin.startswith("preset")
    if given or not config.augment.mosaic or config.model.weights is not None:
        return
    if images < IMAGES and steps < STEPS and not config.train.rect:
        yield (
            f"{images} images and {steps:,} steps are few for mosaic and small steps from scratch; "
            "without mosaic, with larger steps:  --preset small"
        )
