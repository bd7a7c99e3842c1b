from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tutelage.data.letterbox import (
    GREY,
    fit_wh,
    fitted_canvas,
    letterbox,
    letterbox_geometry,
    resize,
)

sides = st.integers(10, 3000)
canvas_sides = st.integers(1, 40).map(lambda n: 32 * n)


@pytest.mark.parametrize(
    ("size_hw", "canvas_hw", "longest", "ratio", "pad"),
    [
        pytest.param((480, 640), (640, 640), None, 1.0, (0, 80), id="landscape on a square"),
        pytest.param((333, 500), (448, 640), None, 1.28, (0, 11), id="enlarged, minimum rectangle"),
        pytest.param((1080, 810), (640, 480), None, 0.592593, (0, 0), id="portrait, shrunk"),
        pytest.param((427, 640), (640, 640), None, 1.0, (0, 106), id="odd rest: less above"),
        pytest.param((375, 500), (672, 672), 500, 1.0, (86, 148), id="margin, not enlarged"),
        pytest.param((427, 640), (448, 672), 640, 1.0, (16, 10), id="margin, rect"),
        pytest.param((100, 333), (640, 640), None, 1.921922, (0, 224), id="wide"),
    ],
)
def test_letterbox_golden(
    size_hw: tuple[int, int],
    canvas_hw: tuple[int, int],
    longest: int | None,
    ratio: float,
    pad: tuple[int, int],
) -> None:
    geometry = letterbox_geometry(size_hw[::-1], canvas_hw, longest=longest)
    assert geometry.scale == pytest.approx(ratio, abs=1e-6)
    assert geometry.pad == pad
    image, _ = letterbox(np.zeros((*size_hw, 3), np.uint8), canvas_hw, longest=longest)
    assert image.shape == (*canvas_hw, 3)
    filled = np.argwhere((image == 0).all(axis=2))
    (top, left), (bottom, right) = filled.min(axis=0), filled.max(axis=0) + 1
    assert (left, top) == pad
    assert (right - left, bottom - top) == geometry.new_wh
    assert (image[:top] == GREY).all()


@pytest.mark.parametrize(
    ("size_hw", "canvas_hw"),
    [((480, 640), (480, 640)), ((333, 500), (448, 640)), ((1080, 810), (640, 480))],
)
def test_smallest_canvas_golden(size_hw: tuple[int, int], canvas_hw: tuple[int, int]) -> None:
    assert fitted_canvas(size_hw[::-1], 640, 32) == canvas_hw


@given(sides, sides, canvas_sides, canvas_sides, st.booleans(), st.data())
def test_inverse_undoes_apply(
    width: int, height: int, canvas_h: int, canvas_w: int, torch_boxes: bool, data: st.DataObject
) -> None:
    geometry = letterbox_geometry((width, height), (canvas_h, canvas_w))
    corner = st.tuples(
        st.floats(0, width), st.floats(0, height), st.floats(0, width), st.floats(0, height)
    )
    boxes = np.array(data.draw(st.lists(corner, max_size=5)), np.float64).reshape(-1, 4)
    xyxy = torch.from_numpy(boxes) if torch_boxes else boxes
    there = geometry.apply(xyxy)
    back = geometry.inverse(there)
    np.testing.assert_allclose(np.asarray(back), boxes, atol=1e-6)
    limit = np.array([canvas_w, canvas_h] * 2)
    assert (np.asarray(there) >= 0).all()
    assert (np.asarray(there) <= limit + 1e-9).all()


@given(sides, sides, canvas_sides, canvas_sides)
def test_whole_image_maps_to_what_it_fills(
    width: int, height: int, canvas_h: int, canvas_w: int
) -> None:
    geometry = letterbox_geometry((width, height), (canvas_h, canvas_w))
    whole = geometry.apply(np.array([[0, 0, width, height]], np.float64))[0]
    (left, top), (new_w, new_h) = geometry.pad, geometry.new_wh
    np.testing.assert_allclose(whole, [left, top, left + new_w, top + new_h], atol=1e-9)
    assert left + new_w <= canvas_w
    assert top + new_h <= canvas_h
    assert 0 <= canvas_w - new_w - 2 * left <= 1


@given(sides, sides, st.integers(32, 1280))
def test_square_canvas_agrees_with_longest_side(width: int, height: int, size: int) -> None:
    assert fit_wh((width, height), size) == letterbox_geometry((width, height), (size, size)).new_wh


def test_boxes_keep_their_type() -> None:
    geometry = letterbox_geometry((50, 40), (96, 96))
    assert geometry.apply(np.ones((2, 4), np.float32)).dtype == np.float32
    assert geometry.inverse(torch.ones(2, 4)).dtype == torch.float32
    assert geometry.resized(np.ones((1, 4), np.float32))[0, 0] == pytest.approx(96 / 50)


def test_smooth_resize_averages() -> None:
    stripes = np.zeros((60, 60, 3), np.uint8)
    stripes[:, ::3] = 240
    smooth = resize(stripes, (20, 20), smooth=True)
    assert (smooth == 80).all()
    assert resize(stripes, (60, 60)) is stripes
    assert not (resize(stripes, (20, 20)) == 80).all()
