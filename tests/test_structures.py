"""Detections are a sequence of boxes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tutelage.structures import Detection, Detections

FOUND = Detections(
    torch.tensor([[10.0, 5, 50, 45], [0, 0, 100, 60], [1, 2, 3, 4]]),
    torch.tensor([0.75, 0.5, 0.25]),
    torch.tensor([1, 0, 1]),
    ("cell", "platelet"),
)
NOTHING = FOUND[:0]


def test_its_length_is_the_number_of_boxes_and_iterating_yields_each() -> None:
    assert (len(FOUND), len(NOTHING), list(NOTHING)) == (3, 0, [])
    assert bool(FOUND)
    assert not NOTHING
    assert list(FOUND) == [
        Detection((10.0, 5.0, 50.0, 45.0), 0.75, 1, "platelet"),
        Detection((0.0, 0.0, 100.0, 60.0), 0.5, 0, "cell"),
        Detection((1.0, 2.0, 3.0, 4.0), 0.25, 1, "platelet"),
    ]
    nameless = Detections(FOUND.xyxy, FOUND.score, FOUND.label)
    assert [box.name for box in nameless] == ["", "", ""]


@pytest.mark.parametrize("index", [1, -2, np.int64(1), torch.tensor(1)])
def test_a_position_gives_a_box(index) -> None:
    assert FOUND[index] == list(FOUND)[1]


def test_a_position_outside_is_an_error() -> None:
    for index in (3, -4):
        with pytest.raises(IndexError):
            FOUND[index]


@pytest.mark.parametrize(
    ("index", "rows"),
    [
        (slice(1, None), [1, 2]),
        (slice(None, None, 2), [0, 2]),
        ([2, 0], [2, 0]),
        ([], []),
        (np.array([True, False, True]), [0, 2]),
        ([True, False, False], [0]),
        (torch.tensor([1]), [1]),
        (FOUND.score > 0.3, [0, 1]),
        (np.array([], int), []),
    ],
)
def test_slices_positions_and_masks_give_fewer_detections(index, rows) -> None:
    fewer = FOUND[index]
    assert isinstance(fewer, Detections)
    assert list(fewer) == [FOUND[row] for row in rows]
    assert fewer.names == FOUND.names
    assert (fewer.xyxy.shape, fewer.label.dtype) == ((len(rows), 4), torch.int64)


def test_an_empty_one_takes_masks_too() -> None:
    assert len(NOTHING[NOTHING.score > 0.5]) == len(NOTHING[[]]) == 0
