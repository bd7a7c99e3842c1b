"""A seed shows what it has always shown, and shows the same at a larger size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.data.augment.views import CASES, SEEDS, SHAPES, Case, make, record, rounding
from tutelage.data.letterbox import Sample

GOLDEN = Path(__file__).parents[2] / "golden" / "augment" / "views.json"
STORED: dict[str, Any] = json.loads(GOLDEN.read_text())
ZOOMS = (1.5, 2.0)


@pytest.mark.parametrize("name", CASES)
def test_a_seed_shows_what_it_has_always_shown(name: str) -> None:
    for seed, stored in zip(SEEDS, STORED["views"][name], strict=True):
        made = record(CASES[name], seed)
        assert made["next"] == stored["next"]
        np.testing.assert_allclose(made["boxes"], stored["boxes"], atol=0.02)
        if rounding() == STORED["rounding"]:
            assert made["bits"] == stored["bits"]


def fine(number: int) -> np.ndarray:
    """A picture of up to 384 pixels with detail of two pixels of one of 96."""
    width, height = SHAPES[number % len(SHAPES)]
    small = np.random.default_rng(number).integers(0, 256, (height // 2, width // 2, 3), np.uint8)
    return cv2.resize(small, (4 * width, 4 * height), interpolation=cv2.INTER_CUBIC)


def at_ratio(ratio: int, number: int) -> Sample:
    """The picture at ``ratio`` times 96 pixels, with its boxes."""
    image = fine(number)
    height, width = image.shape[:2]
    size = (width // 4, height // 4)
    rng = np.random.default_rng(number)
    corner = rng.uniform(0, [size[0] - 30, size[1] - 30], (5, 2))
    xyxy = np.concatenate([corner, corner + rng.uniform(5, 30, (5, 2))], axis=1)
    drawn = cv2.resize(image, (ratio * size[0], ratio * size[1]), interpolation=cv2.INTER_AREA)
    return Sample(drawn, xyxy.astype(np.float32), rng.integers(0, 3, 5), ratio)


def both(case: Case, seed: int, zoom: float) -> tuple[Sample, Sample, tuple[int, int]]:
    """A view and the same view enlarged, and what their generators draw afterwards."""
    rngs = [np.random.default_rng(seed) for _ in range(2)]
    plain = make(case, rngs[0], image=lambda number: at_ratio(1, number))
    large = make(case, rngs[1], zoom=zoom, image=lambda number: at_ratio(2, number))
    first, second = (int(rng.integers(2**31)) for rng in rngs)
    return plain, large, (first, second)


def shift_between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How many pixels right and down the second picture lies of the first, by its gradients."""
    one, two = (cv2.cvtColor(x, cv2.COLOR_RGB2GRAY).astype(float) for x in (first, second))
    slopes = np.stack([np.gradient((one + two) / 2, axis=axis) for axis in (1, 0)], -1)
    rows = slopes.reshape(-1, 2)
    if np.square(rows).mean() < 50:  # plain grey
        return np.zeros(2)
    return -np.linalg.lstsq(rows, (two - one).ravel(), rcond=None)[0]


def blocks(image: np.ndarray) -> list[np.ndarray]:
    """The picture in blocks of 32 x 32 pixels."""
    height, width = image.shape[:2]
    corners = ((x, y) for y in range(0, height, 32) for x in range(0, width, 32))
    return [image[y : y + 32, x : x + 32] for x, y in corners]


def test_the_measure_of_a_shift() -> None:
    image = fine(0)
    one, two = (cv2.resize(image[:, x : x + 352], (88, 72)) for x in (0, 1))
    np.testing.assert_allclose(shift_between(one, two), [-0.25, 0], atol=0.1)


@pytest.mark.parametrize("zoom", ZOOMS)
@pytest.mark.parametrize("name", CASES)
def test_the_same_view_at_a_larger_size(name: str, zoom: float) -> None:
    case = CASES[name]
    height, width = case.canvas_hw
    for seed in SEEDS:
        plain, large, draws = both(case, seed, zoom)
        assert draws[0] == draws[1]
        assert large.image.shape == (zoom * height, zoom * width, 3)
        np.testing.assert_array_equal(large.label, plain.label)
        np.testing.assert_allclose(large.xyxy / zoom, plain.xyxy, atol=1e-4)
        shrunk = cv2.resize(large.image, (width, height), interpolation=cv2.INTER_AREA)
        for one, two in zip(blocks(plain.image), blocks(shrunk), strict=True):
            assert np.abs(shift_between(one, two)).max() < 0.15
        elsewhere = [np.roll(shrunk, by, axis) for by in (-1, 1) for axis in (0, 1)]
        nearest = min(np.abs(x.astype(int) - plain.image).mean() for x in elsewhere)
        assert np.abs(shrunk.astype(int) - plain.image).mean() < 0.6 * nearest
