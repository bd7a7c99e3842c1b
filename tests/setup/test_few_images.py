"""Advice for a short training on few images."""

import pytest

from tutelage.config.load import load_config
from tutelage.setup.few_images import advise_preset


@pytest.mark.parametrize(
    ("flags", "images", "steps", "said"),
    [
        ({}, 200, 3000, True),
        ({"augment.mosaic": 1.0}, 200, 3000, False),  # it was asked for
        ({"preset": "small"}, 200, 3000, False),
        ({"model.weights": "w.pt"}, 200, 3000, False),
        ({"train.rect": True}, 200, 3000, False),  # has no mosaic
        ({}, 1000, 3000, False),
        ({}, 200, 5000, False),
    ],
)
def test_mosaic_of_a_preset_is_advised_against(flags, images, steps, said):
    found = load_config(flags={key: (value, "flag") for key, value in flags.items()})
    texts = list(advise_preset(found.config, found.origins, images, steps))
    assert [text.rpartition(":  ")[2] for text in texts] == ["--preset small"] * said
    assert not list(advise_preset(found.config, None, images, steps))
