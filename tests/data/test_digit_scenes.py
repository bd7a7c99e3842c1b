from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from tutelage.data.digit_scenes import Scene, SceneSettings, compose
from tutelage.data.digits import VARIANTS, _handwriting

PLAIN = SceneSettings(
    size=128,
    height=(14.0, 40.0),
    background=(0.5, 0.5),
    contrast=(0.4, 0.4),
    softness=(1.0, 1.0),
    tint=0.0,
    texture=0.0,
    gradient=0.0,
    clutter=(0, 0),
    scratches=(0, 0),
    overlap=0.0,
    blur=0.0,
    noise=0.0,
)
BLOCK, BAR = np.ones((8, 8), np.float32), np.zeros((8, 8), np.float32)
BAR[:, 3:5] = 1
NONE = np.zeros((1, 8, 8), np.float32)


@pytest.fixture(scope="module")
def handwriting() -> tuple[np.ndarray, np.ndarray]:
    return _handwriting()


def draw(
    scenes: SceneSettings, handwriting: tuple[np.ndarray, np.ndarray], seed: int, n: int
) -> Scene:
    glyphs, label = handwriting
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(label), n)
    return compose(scenes, glyphs[chosen], label[chosen], glyphs, rng)


def ink(scene: Scene) -> np.ndarray:
    """Pixels at least 40 % of the way from a background of 0.5 to an ink 0.4 from it."""
    return np.abs(scene.image[..., 1] / 255.0 - 0.5) > 0.4 * 0.4


@pytest.mark.parametrize("seed", range(20))
def test_a_box_is_the_bounds_of_the_ink(
    handwriting: tuple[np.ndarray, np.ndarray], seed: int
) -> None:
    scene = draw(PLAIN, handwriting, seed, 1)
    x, y, width, height = cv2.boundingRect(ink(scene).astype(np.uint8))
    np.testing.assert_allclose(scene.xyxy, [[x, y, x + width, y + height]], atol=1)


@pytest.mark.parametrize("seed", range(10))
def test_boxes_hold_all_ink_and_touch_it_on_four_sides(
    handwriting: tuple[np.ndarray, np.ndarray], seed: int
) -> None:
    scene = draw(PLAIN, handwriting, seed, 4)
    mask = ink(scene)
    outside = mask.copy()
    assert len(scene.xyxy) == 4
    for x1, y1, x2, y2 in scene.xyxy.astype(int):
        inner = mask[y1:y2, x1:x2]
        edges = inner[:2], inner[-2:], inner[:, :2], inner[:, -2:]
        assert all(edge.any() for edge in edges)
        outside[max(y1 - 1, 0) : y2 + 1, max(x1 - 1, 0) : x2 + 1] = False
    assert not outside.any()


def test_ink_has_the_contrast_asked_for_in_both_directions(
    handwriting: tuple[np.ndarray, np.ndarray],
) -> None:
    # One digit each: the most distant pixel is full ink.
    images = [draw(PLAIN, handwriting, seed, 1).image / 255.0 for seed in range(20)]
    darkest, lightest = ([f(image) for image in images] for f in (np.min, np.max))
    dark = np.array([low < 0.3 for low in darkest])
    assert 0 < dark.sum() < 20
    np.testing.assert_allclose(
        np.where(dark, darkest, lightest), np.where(dark, 0.1, 0.9), atol=0.01
    )
    np.testing.assert_allclose(np.where(dark, lightest, darkest), 0.5, atol=0.01)


@pytest.mark.parametrize("variant", ["digits", "digits:easy"])
def test_scenes_of_the_variants(handwriting: tuple[np.ndarray, np.ndarray], variant: str) -> None:
    scenes = VARIANTS[variant]
    low, high = scenes.height
    heights = []
    for seed in range(40):
        scene = draw(scenes, handwriting, seed, scenes.digits[1])
        assert scene.image.shape == (scenes.size, scenes.size, 3)
        assert scene.image.dtype == np.uint8
        assert len(scene.xyxy) == len(scene.label) >= 1
        assert (scene.xyxy[:, :2] >= 0).all()
        assert (scene.xyxy[:, 2:] <= scenes.size).all()
        heights += (scene.xyxy[:, 3] - scene.xyxy[:, 1]).tolist()
    # Rotation and slant make boxes higher, thin ink makes them lower.
    assert low * 0.75 < min(heights) < low * 1.3
    assert high * 0.8 < max(heights) < high * 1.4


def test_labels_stay_with_their_boxes() -> None:
    # A bar is higher than wide and a block is not, whatever the order.
    glyphs = np.stack([BAR, BLOCK, BAR, BLOCK])
    scenes = replace(PLAIN, rotation=0.0, shear=0.0, stretch=(1.0, 1.0))
    scene = compose(scenes, glyphs, np.array([1, 7, 1, 7]), NONE, np.random.default_rng(0))
    width, height = (scene.xyxy[:, 2:] - scene.xyxy[:, :2]).T
    assert scene.label.tolist() == [1, 7, 1, 7]
    assert (height > 2 * width).tolist() == [True, False, True, False]


def test_a_covered_digit_loses_its_label() -> None:
    # The canvas has hardly more room than one block, so the second digit lies on the first.
    scenes = replace(
        PLAIN, size=32, height=(28.0, 28.0), rotation=0.0, shear=0.0, stretch=(1.0, 1.0)
    )
    for seed in range(5):
        over = compose(
            scenes, np.stack([BAR, BLOCK]), np.array([1, 7]), NONE, np.random.default_rng(seed)
        )
        under = compose(
            scenes, np.stack([BLOCK, BAR]), np.array([7, 1]), NONE, np.random.default_rng(seed)
        )
        assert over.label.tolist() == [7]
        assert under.label.tolist() == [7, 1]
    lenient = replace(scenes, hidden=1.0)
    kept = compose(
        lenient, np.stack([BAR, BLOCK]), np.array([1, 7]), NONE, np.random.default_rng(0)
    )
    assert kept.label.tolist() == [1, 7]


def largest_overlap(scene: Scene) -> float:
    low, high = scene.xyxy[:, None, :2], scene.xyxy[:, None, 2:]
    sides = np.minimum(high, high.swapaxes(0, 1)) - np.maximum(low, low.swapaxes(0, 1))
    shared = np.prod(np.clip(sides, 0, None), axis=-1)
    area = np.diag(shared)
    return float(np.triu(shared / np.minimum(area, area[:, None]), 1).max())


def test_overlap_is_limited_where_there_is_room(
    handwriting: tuple[np.ndarray, np.ndarray],
) -> None:
    free, apart = replace(PLAIN, overlap=1.0), replace(PLAIN, overlap=0.0, height=(14.0, 24.0))
    assert max(largest_overlap(draw(free, handwriting, seed, 5)) for seed in range(10)) > 0.3
    assert max(largest_overlap(draw(apart, handwriting, seed, 5)) for seed in range(10)) == 0


def test_clutter_and_scratches_are_drawn_and_not_labelled() -> None:
    nothing = np.zeros((0, 8, 8), np.float32)
    for knobs in ({"clutter": (9, 9)}, {"scratches": (3, 3)}):
        scene = compose(
            replace(PLAIN, **knobs),
            nothing,
            np.zeros(0, np.int64),
            BLOCK[None],
            np.random.default_rng(0),
        )
        assert ink(scene).mean() > 0.005
        assert scene.xyxy.shape == (0, 4)


@pytest.mark.filterwarnings("error")
def test_a_fragment_without_ink_is_skipped() -> None:
    scene = compose(
        replace(PLAIN, clutter=(20, 20)), BAR[None], np.array([1]), NONE, np.random.default_rng(0)
    )
    assert scene.label.tolist() == [1]


def test_scene_depends_on_its_generator_only(handwriting: tuple[np.ndarray, np.ndarray]) -> None:
    first, again, other = (draw(SceneSettings(), handwriting, seed, 5) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.xyxy, again.xyxy)
    assert (first.image != other.image).any()
