"""Colour, mixup, flips."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.data.write_dataset import picture
from tutelage.config.schema import AugmentConfig
from tutelage.data.augment.color import draw_gains, shift_hsv
from tutelage.data.augment.flip import flip
from tutelage.data.augment.mixup import mixup
from tutelage.data.letterbox import Sample


def sample(seed: int = 0) -> Sample:
    xyxy = np.array([[1, 2, 11, 22], [30, 5, 60, 40]], np.float32)
    return Sample(picture(64, 48, seed), xyxy, np.array([0, 1]) + seed)


@pytest.mark.parametrize("gains", [(1.01, 0.4, 1.3), (0.985, 1.7, 0.6), (2.0, 1.0, 1.0)])
def test_hsv_by_definition(gains: tuple[float, float, float]) -> None:
    image = picture(64, 48)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV).astype(float)
    hsv[..., 0] = np.floor(hsv[..., 0] * gains[0] % 180)
    hsv[..., 1:] = np.floor(np.clip(hsv[..., 1:] * gains[1:], 0, 255))
    expected = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)
    np.testing.assert_array_equal(shift_hsv(image, gains), expected)


def test_hue_is_of_rgb() -> None:
    red = np.full((4, 4, 3), (200, 10, 10), np.uint8)
    to_green = shift_hsv(np.full((4, 4, 3), (200, 200, 10), np.uint8), (2.0, 1.0, 1.0))
    assert to_green[0, 0].argmax() == 1
    assert (shift_hsv(red, (1.0, 1.0, 0.5))[0, 0] == (100, 5, 5)).all()


def test_no_gain_changes_nothing() -> None:
    image = picture(64, 48)
    gains = draw_gains(AugmentConfig(hsv_h=0, hsv_s=0, hsv_v=0), np.random.default_rng(0))
    assert shift_hsv(image, gains) is image


def test_limits_of_the_gains() -> None:
    rng = np.random.default_rng(0)
    config = AugmentConfig(hsv_h=0.01, hsv_s=0.7, hsv_v=0.4)
    gains = np.array([draw_gains(config, rng) for _ in range(2000)])
    np.testing.assert_allclose(gains.min(axis=0), [0.99, 0.3, 0.6], atol=0.01)
    np.testing.assert_allclose(gains.max(axis=0), [1.01, 1.7, 1.4], atol=0.01)


@pytest.mark.parametrize(
    ("left_right", "up_down", "axes", "first"),
    [
        (True, False, (1,), [53, 2, 63, 22]),
        (False, True, (0,), [1, 26, 11, 46]),
        (True, True, (0, 1), [53, 26, 63, 46]),
        (False, False, (), [1, 2, 11, 22]),
    ],
)
def test_flip(left_right: bool, up_down: bool, axes: tuple[int, ...], first: list[int]) -> None:
    original = sample()
    flipped = flip(original, left_right=left_right, up_down=up_down)
    np.testing.assert_array_equal(flipped.image, np.flip(original.image, axes))
    assert flipped.xyxy[0].tolist() == first
    again = flip(flipped, left_right=left_right, up_down=up_down)
    np.testing.assert_array_equal(again.xyxy, original.xyxy)
    assert original.xyxy[0].tolist() == [1, 2, 11, 22]


def test_mixup_blends_and_keeps_all_boxes() -> None:
    first, second = sample(0), sample(5)
    mixed = mixup(first, second, 0.3)
    expected = 0.3 * first.image.astype(float) + 0.7 * second.image.astype(float)
    assert np.abs(mixed.image - expected).max() <= 0.51
    assert mixed.label.tolist() == [0, 1, 5, 6]
    np.testing.assert_array_equal(mixed.xyxy, np.concatenate([first.xyxy, second.xyxy]))
