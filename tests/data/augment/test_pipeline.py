from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.write_dataset import picture
from tutelage.config.schema import AugmentConfig
from tutelage.data.augment import augment
from tutelage.data.letterbox import GREY, Sample

SIZE = 96
QUIET = AugmentConfig(
    hsv_h=0, hsv_s=0, hsv_v=0, translate=0, scale=0, scale_up=0, fliplr=0, mosaic=0
)


def sample(seed: int, width: int = SIZE, height: int = 72) -> Sample:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, [width - 30, height - 30], (5, 2))
    xyxy = np.concatenate([corner, corner + rng.uniform(5, 30, (5, 2))], axis=1)
    return Sample(picture(width, height, seed), xyxy.astype(np.float32), rng.integers(0, 3, 5))


class Partners:
    """Counts how many further images are drawn."""

    def __init__(self) -> None:
        self.drawn = 0

    def __call__(self, rng: np.random.Generator) -> Sample:
        self.drawn += 1
        return sample(int(rng.integers(1000)))


def run(config: AugmentConfig, seed: int, partner: Partners | None) -> Sample:
    rng = np.random.default_rng(seed)
    return augment(sample(1), rng, config=config, canvas_hw=(SIZE, SIZE), partner=partner)


configs = st.builds(
    AugmentConfig,
    degrees=st.sampled_from([0.0, 10.0]),
    shear=st.sampled_from([0.0, 2.0]),
    perspective=st.sampled_from([0.0, 0.0005]),
    scale=st.floats(0, 0.9),
    translate=st.floats(0, 0.5),
    flipud=st.just(0.5),
    mosaic=st.sampled_from([0.0, 0.5, 1.0]),
    mosaic9=st.just(0.5),
    mixup=st.just(0.5),
)


@given(configs, st.integers(0, 10_000))
def test_every_sample_is_sound(config: AugmentConfig, seed: int) -> None:
    made = run(config, seed, Partners())
    assert made.image.shape == (SIZE, SIZE, 3)
    assert made.image.dtype == np.uint8
    assert made.xyxy.dtype == np.float32
    assert made.label.dtype == np.int64
    assert len(made.xyxy) == len(made.label)
    assert (made.xyxy >= 0).all()
    assert (made.xyxy <= SIZE).all()
    sides = made.xyxy[:, 2:] - made.xyxy[:, :2]
    assert (sides > 1.99).all()
    again = run(config, seed, Partners())
    np.testing.assert_array_equal(made.image, again.image)
    np.testing.assert_array_equal(made.xyxy, again.xyxy)


def test_nothing_on_means_letterbox_only() -> None:
    made = run(QUIET, 0, Partners())
    np.testing.assert_array_equal(made.image[12:84], sample(1).image)
    assert (made.image[:12] == GREY).all()
    np.testing.assert_allclose(made.xyxy, sample(1).xyxy + np.array([0, 12, 0, 12]), rtol=1e-6)


@pytest.mark.parametrize(
    ("keys", "partner", "drawn"),
    [
        pytest.param({"mosaic": 1, "mosaic9": 0}, True, {3}, id="four tiles"),
        pytest.param({"mosaic": 1, "mosaic9": 1}, True, {8}, id="nine tiles"),
        pytest.param({"mosaic": 1, "mosaic9": 0.5}, True, {3, 8}, id="either"),
        pytest.param({"mosaic": 1, "mosaic9": 0, "mixup": 1}, True, {3 + 4}, id="mixup"),
        pytest.param({"mosaic": 0, "mixup": 1}, True, {0}, id="mixup needs a mosaic"),
        pytest.param({"mosaic": 1, "mixup": 1}, False, {0}, id="closed"),
    ],
)
def test_how_many_images_are_joined(keys: dict[str, float], partner: bool, drawn: set[int]) -> None:
    counts = set()
    for seed in range(30):
        partners = Partners()
        run(AugmentConfig(**keys), seed, partners if partner else None)
        counts.add(partners.drawn)
    assert counts == drawn


def test_flips_by_their_probabilities() -> None:
    plain = run(QUIET, 0, None).image
    config = QUIET.model_copy(update={"fliplr": 0.25, "flipud": 0.0})
    flips = [not np.array_equal(run(config, seed, None).image, plain) for seed in range(400)]
    assert 0.18 < np.mean(flips) < 0.32
    always = QUIET.model_copy(update={"flipud": 1.0})
    np.testing.assert_array_equal(run(always, 0, None).image, plain[::-1])


def test_inputs_are_not_written_to() -> None:
    first = sample(1)
    first.image.flags.writeable = False
    first.xyxy.flags.writeable = False
    for seed in range(5):
        config = AugmentConfig(mosaic=0.5, fliplr=1, flipud=1)
        rng = np.random.default_rng(seed)
        augment(first, rng, config=config, canvas_hw=(SIZE, SIZE), partner=Partners())
