from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.distill.fake_networks import boxes, masks_by_loop
from tutelage.distill import masks
from tutelage.distill.masks import object_masks
from tutelage.structures import Targets

coordinate = st.integers(-100, 1300).map(lambda number: number / 8)
scenes = st.lists(
    st.tuples(st.integers(0, 2), coordinate, coordinate, coordinate, coordinate), max_size=12
)
sides = st.integers(1, 9)


@given(scene=scenes, h=sides, w=sides, height=st.integers(8, 130), width=st.integers(8, 130))
@settings(max_examples=150, deadline=None)
def test_equals_a_loop_over_boxes(scene: list, h: int, w: int, height: int, width: int) -> None:
    rows = [(i, min(a, c), min(b, d), max(a, c), max(b, d)) for i, a, b, c, d in scene]
    targets = boxes(rows, torch.float64)
    expected = masks_by_loop(targets, 3, (h, w), (height, width))
    for actual, wanted in zip(
        object_masks(targets, 3, (h, w), (height, width)), expected, strict=True
    ):
        torch.testing.assert_close(actual, wanted, rtol=1e-12, atol=0)


@given(scene=scenes, h=sides, w=sides)
@settings(max_examples=60, deadline=None)
def test_background_sums_to_one(scene: list, h: int, w: int) -> None:
    targets = boxes([(i, min(a, c), min(b, d), max(a, c), max(b, d)) for i, a, b, c, d in scene])
    foreground, background = object_masks(targets, 3, (h, w), (96, 128))
    assert ((foreground > 0) ^ (background > 0)).all()
    full = (foreground > 0).flatten(1).all(1)
    torch.testing.assert_close(background.sum((1, 2, 3)), (~full).float())


@given(x=st.floats(0, 120), y=st.floats(0, 80), w=st.floats(0.5, 40), h=st.floats(0.5, 40))
@settings(max_examples=60, deadline=None)
def test_a_box_inside_the_map_sums_to_one(x: float, y: float, w: float, h: float) -> None:
    corner = (min(x + w, 119.0), min(y + h, 87.0))  # an inclusive end may reach one cell further
    targets = boxes([(0, min(x, 118), min(y, 86), *corner)])
    foreground, _ = object_masks(targets, 1, (12, 16), (96, 128))
    torch.testing.assert_close(foreground.sum(), torch.tensor(1.0))


def test_ends_are_inclusive() -> None:
    foreground, _ = object_masks(boxes([(0, 16, 8, 32, 16)]), 1, (4, 8), (32, 64))
    expected = torch.zeros(4, 8)
    expected[1:3, 2:5] = 1 / 6
    torch.testing.assert_close(foreground[0, 0], expected)


def test_smallest_box_wins() -> None:
    targets = boxes([(0, 17, 17, 18, 18), (0, 0, 0, 60, 60), (0, 17, 17, 18, 18)])
    foreground, _ = object_masks(targets, 1, (8, 8), (64, 64))
    assert foreground[0, 0, 2, 2] == 1 / 4
    assert foreground[0, 0, 0, 0] == pytest.approx(1 / 81)


@pytest.mark.parametrize(
    "box",
    [
        pytest.param((-30, 4, -1, 20), id="left of the image"),
        pytest.param((-30, 4, 0, 20), id="touches the left edge"),
        pytest.param((64, 4, 80, 20), id="touches the right edge"),
        pytest.param((4, -9, 20, 0), id="touches the upper edge"),
        pytest.param((4, 90, 20, 99), id="below the image"),
    ],
)
def test_boxes_outside_cover_nothing(box: tuple[float, ...]) -> None:
    foreground, background = object_masks(boxes([(0, *box)]), 1, (8, 8), (64, 64))
    assert not foreground.any()
    torch.testing.assert_close(background, torch.full((1, 1, 8, 8), 1 / 64))


def test_boxes_are_clipped_before_they_are_weighed() -> None:
    inside, over = boxes([(0, 0, 40, 30, 64)]), boxes([(0, -50, 40, 30, 300)])
    expected, _ = object_masks(inside, 1, (8, 8), (64, 64))
    actual, _ = object_masks(over, 1, (8, 8), (64, 64))
    assert expected.any()
    assert torch.equal(actual, expected)


def test_height_and_width_are_not_swapped() -> None:
    foreground, _ = object_masks(boxes([(0, 100, 0, 127, 8)]), 1, (4, 16), (32, 128))
    assert foreground[0, 0].nonzero().tolist() == [[y, x] for y in (0, 1) for x in (12, 13, 14, 15)]


def test_grid_aligned_edges_stay_exact_in_float32() -> None:
    for size, cells in ((640, 80), (1280, 160), (416, 52), (96, 12)):
        edges = torch.arange(cells) * (size / cells)
        rows = [(0, float(edge), 0, float(edge), 0) for edge in edges]
        targets = boxes(rows)
        foreground, _ = object_masks(targets, 1, (1, cells), (size, size))
        assert torch.equal(foreground.flatten(), torch.ones(cells)), size


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(40, 2, generator=generator) * 60
    xyxy = torch.cat([corner, corner + torch.rand(40, 2, generator=generator) * 20], 1)
    image = torch.randint(0, 3, (40,), generator=generator)
    targets = Targets(image, image, xyxy)
    whole = object_masks(targets, 3, (8, 8), (64, 64))
    monkeypatch.setattr(masks, "CHUNK_CELLS", 3 * 64)
    for actual, expected in zip(object_masks(targets, 3, (8, 8), (64, 64)), whole, strict=True):
        assert torch.equal(actual, expected)


def test_no_boxes_at_all() -> None:
    foreground, background = object_masks(boxes([]), 2, (3, 5), (48, 80))
    assert foreground.shape == (2, 1, 3, 5)
    assert not foreground.any()
    torch.testing.assert_close(background, torch.full((2, 1, 3, 5), 1 / 15))
