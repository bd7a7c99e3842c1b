from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.data.augment.collage import Collage, Tile
from tutelage.data.augment.mosaic import draw_mosaic4, draw_mosaic9, mosaic4, mosaic9
from tutelage.data.letterbox import GREY, Sample

SIZE = 64


def tile(number: int, width: int, height: int) -> Sample:
    """A plain image of its own colour whose single box is the whole image."""
    image = np.full((height, width, 3), 120 + number, np.uint8)
    return Sample(image, np.array([[0, 0, width, height]], np.float32), np.array([number]))


shapes = st.one_of(
    st.tuples(st.just(SIZE), st.integers(8, SIZE)), st.tuples(st.integers(8, SIZE), st.just(SIZE))
)


def shows(image: np.ndarray, number: int) -> list[int] | None:
    rows, columns = np.nonzero(image[..., 0] == 120 + number)
    if not len(rows):
        return None
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def assert_boxes_are_the_tiles(collage: Collage) -> None:
    """No tile hides another, and every box is exactly the visible part of its tile."""
    image = collage.render()
    assert image.shape[:2] == collage.size_wh[::-1]
    xyxy, label = collage.boxes()
    grey = (image[..., 0] == GREY).sum()
    covered = 0
    for box, number in zip(xyxy, label, strict=True):
        area = (box[2] - box[0]) * (box[3] - box[1])
        seen = shows(image, int(number))
        assert (seen is None) == (area == 0)
        if seen is not None:
            assert seen == box.tolist()
            assert (image[..., 0] == 120 + number).sum() == area
        covered += area
    assert covered + grey == image[..., 0].size


@given(st.lists(shapes, min_size=4, max_size=4), st.integers(0, 10_000))
def test_mosaic4(sizes: list[tuple[int, int]], seed: int) -> None:
    samples = [tile(number, *size) for number, size in enumerate(sizes)]
    collage = draw_mosaic4(samples, SIZE, np.random.default_rng(seed))
    assert collage.size_wh == (2 * SIZE, 2 * SIZE)
    assert_boxes_are_the_tiles(collage)


@given(st.lists(shapes, min_size=9, max_size=9), st.integers(0, 10_000))
def test_mosaic9(sizes: list[tuple[int, int]], seed: int) -> None:
    samples = [tile(number, *size) for number, size in enumerate(sizes)]
    collage = draw_mosaic9(samples, SIZE, np.random.default_rng(seed))
    assert collage.size_wh == (2 * SIZE, 2 * SIZE)
    assert_boxes_are_the_tiles(collage)


def test_mosaic4_corners_meet() -> None:
    samples = [tile(number, 64, 40) for number in range(4)]
    xyxy, _ = mosaic4(samples, SIZE, centre_xy=(70, 50)).boxes()
    assert xyxy.tolist() == [[6, 10, 70, 50], [70, 10, 128, 50], [6, 50, 70, 90], [70, 50, 128, 90]]


def test_mosaic4_centres_fill_the_middle() -> None:
    samples = [tile(number, 64, 64) for number in range(4)]
    rng = np.random.default_rng(0)
    centres = [draw_mosaic4(samples, SIZE, rng).tiles[3][1:] for _ in range(3000)]
    low, high = np.min(centres, axis=0), np.max(centres, axis=0)
    assert low.tolist() == [32, 32]
    assert high.tolist() == [95, 95]


def test_mosaic9_goes_round_clockwise() -> None:
    """Tiles of different sizes, laid out by hand: s 64, the first 60 x 50."""
    sizes = [(60, 50), (30, 20), (25, 30), (40, 22), (33, 44), (20, 10), (21, 12), (18, 16), (8, 9)]
    samples = [tile(number, *size) for number, size in enumerate(sizes)]
    tiles = mosaic9(samples, SIZE, corner_xy=(0, 0)).tiles
    assert [(x, y) for _, x, y in tiles] == [
        (64, 64),
        (64, 44),
        (94, 34),
        (124, 64),
        (124, 86),
        (104, 114),
        (83, 114),
        (46, 98),
        (56, 89),
    ]
    moved = mosaic9(samples, SIZE, corner_xy=(10, 30)).tiles
    assert [(x, y) for _, x, y in moved][:2] == [(54, 34), (54, 14)]


@pytest.mark.parametrize("window", [(0, 0, 128, 128), (10, 20, 90, 70), (-30, -8, 150, 140)])
def test_a_window_is_a_part_of_the_whole(window: tuple[int, int, int, int]) -> None:
    rng = np.random.default_rng(0)
    samples = [
        Sample(
            rng.integers(0, 256, (48, 64, 3), dtype=np.uint8),
            np.zeros((0, 4), np.float32),
            np.zeros(0, np.int64),
        )
        for _ in range(4)
    ]
    collage = mosaic4(samples, SIZE, centre_xy=(60, 50))
    whole = np.pad(
        collage.render(), ((200, 200), (200, 200), (0, 0)), constant_values=np.uint8(GREY)
    )
    left, top, right, bottom = (side + 200 for side in window)
    np.testing.assert_array_equal(collage.render(window), whole[top:bottom, left:right])


def test_later_tiles_cover_earlier_ones() -> None:
    collage = Collage((Tile(tile(1, 40, 40), 0, 0), Tile(tile(2, 40, 40), 20, 20)), (64, 64))
    image = collage.render()
    assert image[30, 30, 0] == 122
    assert image[10, 10, 0] == 121
