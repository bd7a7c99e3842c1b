from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.write_dataset import picture
from tutelage.config.schema import AugmentConfig
from tutelage.data.augment.collage import Collage, Tile
from tutelage.data.augment.geometry import (
    Transform,
    box_candidates,
    draw_transform,
    transform_boxes,
    transform_matrix,
    view,
)
from tutelage.data.letterbox import GREY, Sample

RED = (255, 0, 0)


def scene(width: int, height: int, xyxy: tuple[int, int, int, int]) -> Sample:
    """A black image with one red box."""
    image = np.zeros((height, width, 3), np.uint8)
    image[xyxy[1] : xyxy[3], xyxy[0] : xyxy[2]] = RED
    return Sample(image, np.array([xyxy], np.float32), np.array([1]))


def red_extent(image: np.ndarray) -> list[int]:
    rows, columns = np.nonzero(image[..., 0].astype(int) - image[..., 1] > 127)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize(
    ("scale_up", "expected"),
    [
        pytest.param(
            0.1, [[0, 0, 90.6508, 65.7184], [38.8912, 70.6385, 128, 128]], id="YOLOv7's range"
        ),
        pytest.param(
            0.0, [[0, 0, 88.6220, 66.0774], [39.5471, 70.7422, 128, 128]], id="YOLOv5's range"
        ),
    ],
)
def test_golden_boxes(scale_up: float, expected: list[list[float]]) -> None:
    draws = random.Random(3)
    px, py = draws.uniform(0, 0), draws.uniform(0, 0)
    transform = Transform(
        perspective=(px, py),
        angle=draws.uniform(-10, 10),
        scale=draws.uniform(0.5, 1.5 + scale_up),
        shear=(draws.uniform(-5, 5), draws.uniform(-5, 5)),
        centre=(draws.uniform(0.4, 0.6), draws.uniform(0.4, 0.6)),
    )
    matrix = transform_matrix(transform, (256, 256), (128, 128))
    boxes = np.array([[60, 60, 160, 120], [120, 130, 250, 250]], np.float32)
    moved = np.clip(transform_boxes(boxes, matrix), 0, 128)
    np.testing.assert_allclose(moved, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("max_aspect", "share", "expected"),
    [
        (20, 0.10, [True, False, False, False]),
        (20, 0.01, [True, False, False, True]),
        (100, 0.10, [True, False, True, False]),
        (100, 0.01, [True, False, True, True]),
    ],
)
def test_golden_candidates(max_aspect: float, share: float, expected: list[bool]) -> None:
    before = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 100, 4], [0, 0, 50, 50]], np.float32)
    after = np.array([[0, 0, 10, 10], [0, 0, 1.9, 10], [0, 0, 80, 3], [0, 0, 10, 20]], np.float32)
    kept = box_candidates(before, after, max_aspect=max_aspect, min_area_share=share)
    assert kept.tolist() == expected


def test_limits_of_the_drawn_transforms() -> None:
    config = AugmentConfig(
        degrees=10, translate=0.1, scale=0.5, scale_up=0.1, shear=3, perspective=0.001
    )
    rng = np.random.default_rng(0)
    drawn = [draw_transform(config, rng) for _ in range(2000)]
    for values, low, high in (
        ([t.angle for t in drawn], -10, 10),
        ([t.scale for t in drawn], 0.5, 1.6),
        ([value for t in drawn for value in t.shear], -3, 3),
        ([value for t in drawn for value in t.centre], 0.4, 0.6),
        ([value for t in drawn for value in t.perspective], -0.001, 0.001),
    ):
        span = high - low
        assert low <= min(values) < low + 0.01 * span
        assert high - 0.01 * span < max(values) <= high


def test_no_augmentation_is_the_identity() -> None:
    none = AugmentConfig(translate=0, scale=0, scale_up=0)
    transform = draw_transform(none, np.random.default_rng(0))
    assert transform.upright
    np.testing.assert_array_equal(transform_matrix(transform, (60, 40), (60, 40)), np.eye(3))
    sample = Sample(picture(60, 40), np.array([[1, 2, 30, 40]], np.float32), np.array([0]))
    seen = view(Collage((Tile(sample, 0, 0),), (60, 40)), transform, (60, 40), max_aspect=20)
    np.testing.assert_array_equal(seen.image, sample.image)
    np.testing.assert_array_equal(seen.xyxy, sample.xyxy)


transforms = st.builds(
    Transform,
    perspective=st.just((0.0, 0.0)),
    shear=st.just((0.0, 0.0)),
    angle=st.sampled_from([0.0, 90.0, -90.0, 180.0]),
    scale=st.floats(0.4, 2.5),
    centre=st.tuples(st.floats(0.3, 0.7), st.floats(0.3, 0.7)),
)


@given(transforms)
def test_boxes_follow_the_pixels(transform: Transform) -> None:
    """For every way of drawing, the box stays where its object is, to the pixel."""
    collage = Collage((Tile(scene(100, 80, (30, 20, 70, 60)), 10, 25),), (128, 128))
    seen = view(collage, transform, (96, 96), max_aspect=100)
    for box in seen.xyxy:
        assert np.abs(box - red_extent(seen.image)).max() <= 1.0
        assert (box >= 0).all()
        assert (box <= 96).all()


@given(st.floats(0.5, 2.5), st.floats(0.3, 0.7), st.floats(0.3, 0.7))
def test_crop_equals_warp(scale: float, x: float, y: float) -> None:
    """The fast way for upright transforms shows what the warp shows, up to its rounding."""
    sample = Sample(picture(120, 90), np.array([[20, 10, 100, 80]], np.float32), np.array([0]))
    collage = Collage((Tile(sample, 5, 20),), (128, 128))
    upright = Transform(scale=scale, centre=(x, y))
    fast = view(collage, upright, (96, 96), max_aspect=100)
    slow = view(collage, upright._replace(angle=1e-9), (96, 96), max_aspect=100)
    assert not upright._replace(angle=1e-9).upright
    np.testing.assert_allclose(fast.xyxy, slow.xyxy, atol=2 * scale)
    difference = np.abs(fast.image.astype(int) - slow.image)
    assert np.median(difference) <= 8
    assert difference.mean() < 12


def test_perspective_moves_boxes_with_the_image() -> None:
    collage = Collage((Tile(scene(128, 128, (40, 40, 90, 90)), 0, 0),), (128, 128))
    transform = Transform(perspective=(0.002, -0.001))
    seen = view(collage, transform, (128, 128), max_aspect=100)
    assert np.abs(seen.xyxy[0] - red_extent(seen.image)).max() <= 1.5
    assert np.abs(seen.xyxy[0] - (40, 40, 90, 90)).max() > 2


@pytest.mark.parametrize("transform", [Transform(scale=0.3), Transform(scale=0.7, angle=20)])
def test_outside_is_grey(transform: Transform) -> None:
    collage = Collage((Tile(scene(64, 64, (0, 0, 64, 64)), 0, 0),), (64, 64))
    seen = view(collage, transform, (64, 64), max_aspect=100)
    assert (seen.image[0, 0] == GREY).all()
    assert (seen.image[-1, -1] == GREY).all()
    assert (seen.image[32, 32] == RED).all()


def test_tiny_scales_cost_no_memory() -> None:
    collage = Collage((Tile(scene(64, 64, (0, 0, 64, 64)), 0, 0),), (64, 64))
    assert view(collage, Transform(scale=0.01), (64, 64), max_aspect=20).image.shape == (64, 64, 3)
