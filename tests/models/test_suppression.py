"""NMS by group, wherever the boxes lie."""

import math

import pytest
import torch
from torchvision.ops import nms

from tutelage.models.suppression import suppress_overlaps


def random_boxes(count, low, high):
    corner = torch.empty(count, 2).uniform_(low, high)
    return torch.cat((corner, corner + torch.empty(count, 2).uniform_(5, 60)), 1)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 300), (-300, 300), (-900, -100)], ids=["inside", "around", "outside"]
)
@pytest.mark.parametrize("count", [300, 1500])
@pytest.mark.parametrize("largest", [0, 1e9])
def test_groups_do_not_suppress_each_other_wherever_the_boxes_lie(low, high, count, largest):
    """Nor does one box without bounds, as heads give whose sizes are exponentials, disturb them."""
    torch.manual_seed(0)
    xyxy, score = random_boxes(count, low, high), torch.rand(count)
    xyxy[0] += torch.tensor([-largest, -largest, largest, largest])
    group = torch.randint(0, 5, (count,))
    kept = suppress_overlaps(xyxy, score, group, 0.3)
    members = [(group == number).nonzero()[:, 0] for number in range(5)]
    together = torch.cat([rows[nms(xyxy[rows], score[rows], 0.3)] for rows in members])
    assert kept.tolist() == together[score[together].argsort(descending=True)].tolist()


@pytest.mark.parametrize("tenths", range(1, 10))
def test_an_overlap_that_meets_the_limit_is_not_above_it(tenths):
    xyxy = torch.tensor([[0.0, 0, 40, 8], [0, 0, 4 * tenths, 8]])
    score, group = torch.tensor([0.9, 0.8]), torch.zeros(2, dtype=torch.int64)
    assert len(suppress_overlaps(xyxy, score, group, tenths / 10)) == 2
    assert len(suppress_overlaps(xyxy, score, group, tenths / 10 - 1e-6)) == 1


def test_boxes_that_are_not_finite_are_dropped_and_disturb_nothing():
    xyxy = torch.tensor([[0, 0, 10, 10], [0, 0, math.inf, 9], [0, 0, 10, 11], [0, math.nan, 1, 1]])
    score, group = torch.tensor([0.5, 0.9, 0.8, 0.7]), torch.zeros(4, dtype=torch.int64)
    assert suppress_overlaps(xyxy, score, group, 0.5).tolist() == [2]
    assert suppress_overlaps(xyxy[1::2], score[1::2], group[1::2], 0.5).tolist() == []
