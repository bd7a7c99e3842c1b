from __future__ import annotations

import numpy as np
import pytest

from tutelage.data.draw_boxes import colour_of, draw_boxes

RED, BLUE = (250, 0, 0), (0, 0, 250)
BOXES = np.array([[10, 20, 50, 55], [30, 20, 90, 55]], np.float32)


@pytest.fixture
def image() -> np.ndarray:
    return np.full((60, 100, 3), 90, np.uint8)


def test_every_class_has_a_colour_of_its_own() -> None:
    assert len({colour_of(label) for label in range(80)}) == 80


def test_only_lines_are_drawn_on_a_copy(image) -> None:
    drawn = draw_boxes(image, BOXES, [RED, BLUE])
    assert (image == 90).all()
    assert abs(drawn[40, 10].astype(int) - RED).max() < 30
    assert abs(drawn[40, 90].astype(int) - BLUE).max() < 30
    assert tuple(drawn[40, 20]) == (90, 90, 90)
    assert np.array_equal(draw_boxes(image, BOXES[:0], []), image)


def test_the_first_box_is_on_top(image) -> None:
    first, last = (draw_boxes(image, BOXES[[0, 0]], pair) for pair in ((RED, BLUE), (BLUE, RED)))
    assert first[40, 10, 0] > first[40, 10, 2]
    assert last[40, 10, 2] > last[40, 10, 0]


def test_captions_lie_above_the_box_and_below_its_corner_at_the_edge(image) -> None:
    bare = draw_boxes(image, BOXES[:1], [RED])
    changed = (draw_boxes(image, BOXES[:1], [RED], ["cat"]) != bare).any(2).nonzero()[0]
    assert changed.max() <= 21
    box = BOXES[:1] - (0, 19, 0, 0)
    changed = (draw_boxes(image, box, [RED], ["cat"]) != draw_boxes(image, box, [RED])).any(2)
    assert changed.nonzero()[0].max() > 10
    with pytest.raises(ValueError, match="zip"):
        draw_boxes(image, BOXES, [RED, BLUE], ["one of two"])
