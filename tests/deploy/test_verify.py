"""Comparing two networks: what counts as a difference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tutelage.deploy.metadata import Suppression
from tutelage.deploy.verify import VerificationCase, largest_difference, verification_cases
from tutelage.structures import Predictions

IMAGES = [np.zeros((20, 30, 3), np.uint8)] * 3
WAYS = (VerificationCase(2, (32, 64)),)
XYXY = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 10, 11]])
SCORES = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])


def network(xyxy: Tensor = XYXY, scores: Tensor = SCORES):
    """The same answer for every picture."""

    def run(images: Tensor) -> Predictions:
        shown = (len(images), 1, 1)
        level = torch.zeros(len(xyxy), dtype=torch.int64)
        return Predictions(xyxy.repeat(shown), torch.logit(scores).repeat(shown), None, level)

    return run


def changed(values: Tensor, row: int, column: int, by: float) -> Tensor:
    mine = values.clone()
    mine[row, column] += by
    return mine


def test_boxes_are_shares_of_the_canvas_and_scores_as_they_are() -> None:
    same = largest_difference(network(), network(), IMAGES, WAYS)
    box = largest_difference(network(), network(changed(XYXY, 1, 2, 6.4)), IMAGES, WAYS)
    score = largest_difference(network(), network(scores=changed(SCORES, 2, 0, 0.25)), IMAGES, WAYS)
    assert (same, box, score) == pytest.approx((0, 0.1, 0.25), abs=1e-6)


@pytest.mark.parametrize("settings", [None, Suppression(conf=0.25, iou=0.5, max_detections=10)])
def test_boxes_beyond_the_canvas_are_compared_by_their_size(settings: Suppression | None) -> None:
    """A size that is an exponential may be a million pixels after few steps of training."""
    large = torch.cat((XYXY[:2], torch.tensor([[0.0, 0, 1e6, 2e6]])))

    def apart(other: Tensor) -> float:
        return largest_difference(
            network(large), network(other), IMAGES, WAYS, suppression=settings
        )

    assert apart(changed(large, 2, 3, 200)) == pytest.approx(1e-4)
    assert apart(changed(large, 2, 3, 1e6)) == pytest.approx(0.5)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_number_is_no_agreement(value: float) -> None:
    broken = network(changed(XYXY, 0, 0, value))
    assert largest_difference(network(), broken, IMAGES, WAYS) == float("inf")


def test_another_number_of_candidates() -> None:
    fewer = network(XYXY[:2], SCORES[:2])
    assert largest_difference(network(), fewer, IMAGES, WAYS) == float("inf")


def test_survivors() -> None:
    settings = Suppression(conf=0.25, iou=0.5, max_detections=10)

    def apart(*others: Tensor) -> float:
        return largest_difference(network(), network(*others), IMAGES, WAYS, suppression=settings)

    order = torch.tensor([2, 0, 1])
    assert apart(XYXY[order], SCORES[order]) == pytest.approx(0, abs=1e-6)
    assert apart(XYXY, changed(SCORES, 1, 0, -0.1)) == pytest.approx(0.1, abs=1e-6)
    assert apart(XYXY[:2], SCORES[:2]) >= 0.9  # the partner of the lost one has another class
    assert apart(XYXY, SCORES * 0.01) == float("inf")
    assert apart(XYXY, changed(SCORES, 2, 1, -0.6)) >= 0.2


def test_few_may_survive_by_rounding_alone() -> None:
    settings = Suppression(conf=0.25, iou=0.5, max_detections=300)
    place = 20.0 * torch.arange(200)[:, None]
    xyxy = place + torch.tensor([0.0, 0, 10, 10])
    scores = torch.full((200, 1), 0.6)

    def without(count: int) -> float:
        fewer = network(xyxy[count:], scores[count:])
        return largest_difference(network(xyxy, scores), fewer, IMAGES, WAYS, suppression=settings)

    assert without(1) == 0
    assert without(8) > 0.1


def test_checks_differ_in_batch_shape_and_size() -> None:
    assert verification_cases(64, 32) == (
        VerificationCase(1, (64, 64)),
        VerificationCase(3, (64, 96)),
    )
