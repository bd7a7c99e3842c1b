"""Anchors: how many boxes they reach, and the search_anchors for better ones."""

import numpy as np
import pytest

from tests.data.write_dataset import make_dataset
from tutelage.data import open_splits
from tutelage.data.anchors import best_possible_recall, box_sizes, search_anchors

BOXES = np.array([[10.0, 10.0], [39.0, 10.0], [40.0, 10.0], [10.0, 2.5], [10.0, 2.6]])


@pytest.mark.parametrize(
    ("anchors", "expected"),
    [
        ([[10, 10]], 0.6),  # four times as large or as small is out of reach
        ([[10, 10], [40, 10]], 0.8),
        ([[[10, 10]], [[20, 5]]], 1.0),  # by levels
        ([[20, 5]], 0.8 + 0.2),
        ([[0, 1]], 0.0),  # a placeholder
    ],
)
def test_recall(anchors, expected):
    assert best_possible_recall(BOXES, np.array(anchors, float), 4.0) == pytest.approx(expected)


def test_no_boxes_are_all_reached():
    assert best_possible_recall(np.zeros((0, 2)), np.array([[10.0, 10.0]]), 4.0) == 1.0


def test_recall_is_that_of_the_definition():
    rng = np.random.default_rng(0)
    boxes, anchors = rng.uniform(2, 200, (300, 2)), rng.uniform(5, 100, (9, 2))
    ratio = boxes[:, None] / anchors
    reached = (np.maximum(ratio, 1 / ratio).max(-1) < 2.0).any(1)
    assert 0 < reached.mean() < 1
    assert best_possible_recall(boxes, anchors, 2.0) == reached.mean()


def test_sides_are_those_on_the_canvas(tmp_path):
    labels = {"a": "0 0.5 0.5 0.25 0.5", "b": None, "c": "0 0.5 0.5 1 1\n1 0.5 0.5 0.5 0.25"}
    index, _ = open_splits(str(make_dataset(tmp_path, labels)), "train", "val")  # 64 x 48 px
    expected = np.array([[32, 48], [128, 96], [64, 24]])
    np.testing.assert_allclose(box_sizes(index, 128), expected, rtol=1e-5)
    varied = box_sizes(index, 128, np.random.default_rng(0)) / expected
    assert ((varied > 0.9) & (varied < 1.1)).all()
    assert varied[1] == pytest.approx(varied[2])  # of one image
    assert varied[0, 0] != pytest.approx(varied[1, 0])


def test_groups_of_boxes_are_found():
    rng = np.random.default_rng(3)
    groups = np.array([[8.0, 12.0], [60.0, 10.0], [30.0, 90.0], [200.0, 150.0]])
    boxes = np.repeat(groups, 50, 0) * rng.uniform(0.95, 1.05, (200, 2))
    found = search_anchors(boxes, 4, 4.0, np.random.default_rng(0))
    np.testing.assert_allclose(found, groups, rtol=0.05)
    assert best_possible_recall(boxes, found, 1.15) == 1.0


def test_the_seed_decides_the_search():
    boxes = np.exp(np.random.default_rng(1).normal(3, 1, (400, 2)))
    one, same, other = (search_anchors(boxes, 9, 4.0, np.random.default_rng(s)) for s in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    areas = one.prod(1)
    assert (np.diff(areas) >= 0).all()
    assert (one >= 2).all()


def test_many_boxes_are_searched_by_a_sample():
    boxes = np.exp(np.random.default_rng(1).normal(3, 0.4, (12_000, 2)))
    assert (
        best_possible_recall(boxes, search_anchors(boxes, 9, 4.0, np.random.default_rng(0)), 4.0)
        > 0.99
    )


@pytest.mark.parametrize("boxes", [np.ones((50, 2)), np.full((50, 2), 20.0), np.empty((0, 2))])
def test_too_few_different_boxes_are_not_searched(boxes):
    assert search_anchors(boxes, 9, 4.0, np.random.default_rng(0)) is None
