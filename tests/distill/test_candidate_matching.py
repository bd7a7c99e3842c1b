"""A teacher's detections at the student's candidates, whatever head the teacher has."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from tutelage.distill.candidate_matching import BACKGROUND_LOGIT, match_candidates
from tutelage.structures import Predictions, Targets

OURS = torch.tensor(
    [
        [[0.0, 0, 10, 10], [1, 1, 11, 11], [40, 40, 60, 60], [80, 80, 90, 90]],
        [[0.0, 0, 10, 10], [20, 20, 30, 30], [40, 40, 60, 60], [80, 80, 90, 90]],
    ]
)


def student(objectness: bool = True) -> Predictions:
    seen = torch.zeros(2, 4) if objectness else None
    return Predictions(OURS.clone().requires_grad_(), torch.zeros(2, 4, 3), seen, torch.zeros(4))


def teacher(
    boxes: list[list[list[float]]], odds: list[list[list[float]]], objectness: Tensor | None = None
) -> Predictions:
    xyxy, logits = torch.tensor(boxes), torch.tensor(odds).logit(1e-6)
    return Predictions(xyxy, logits, objectness, torch.zeros(xyxy.shape[1]))


def answers(boxes: Targets) -> Tensor:
    """Each candidate answers for the box of its image that it overlaps most, from IoU 0.15 on."""
    if not len(boxes.image):
        return torch.full((2, 4), -1)
    overlap = torch.stack([box_iou(ours, boxes.xyxy) for ours in OURS])  # (image, candidate, box)
    elsewhere = torch.arange(2)[:, None] != boxes.image
    best, which = overlap.masked_fill(elsewhere[:, None], 0).max(2)
    return torch.where(best > 0.15, which, -1)


ONE = teacher(
    [[[0, 0, 10, 10], [0, 0, 0, 0]], [[70, 70, 95, 95], [0, 0, 0, 0]]],
    [[[0.8, 0.2, 0.01], [0, 0, 0]], [[0.1, 0.9, 0.01], [0, 0, 0]]],
)


def test_candidates_take_over_what_they_answer_for() -> None:
    found = match_candidates(student(), ONE, answers)
    assert found.objectness is not None
    seen = found.objectness.sigmoid()
    # times the overlap with the candidate's own box: the second is one pixel off
    torch.testing.assert_close(seen[0, :2], torch.tensor([0.8, 0.8 * 81 / 119]))
    torch.testing.assert_close(found.xyxy[0, 1], torch.tensor([0.0, 0, 10, 10]))
    given = found.logits[0, 0].sigmoid()  # classes, given an object
    torch.testing.assert_close(given, torch.tensor([1 - 1e-4, 0.25, 0.0125]), atol=1e-5, rtol=0)
    assert found.objectness[0, 2:].tolist() == [BACKGROUND_LOGIT, BACKGROUND_LOGIT]
    torch.testing.assert_close(found.xyxy[0, 2:], OURS[0, 2:])  # no box to learn there


def test_the_student_is_asked_about_detections_as_if_they_were_drawn() -> None:
    asked: list[Targets] = []

    def one(boxes: Targets) -> Tensor:
        asked.append(boxes)
        return torch.tensor([[-1, -1, -1, 0], [1, -1, -1, -1]])

    found = match_candidates(student(), ONE, one)
    [boxes] = asked
    assert boxes.image.tolist() == [0, 1]
    assert boxes.label.tolist() == [0, 1]
    assert boxes.xyxy.tolist() == [[0, 0, 10, 10], [70, 70, 95, 95]]
    assert found.objectness is not None
    heard = found.logits.amax(-1) > BACKGROUND_LOGIT
    assert heard.tolist() == [[False, False, False, True], [True, False, False, False]]
    # their own boxes are elsewhere: they are background until they have come closer
    torch.testing.assert_close(found.objectness, torch.full((2, 4), BACKGROUND_LOGIT))
    torch.testing.assert_close(found.xyxy[0, 3], torch.tensor([0.0, 0, 10, 10]))
    torch.testing.assert_close(found.xyxy[1, 0], torch.tensor([70.0, 70, 95, 95]))


def test_heads_without_objectness_compare_scores() -> None:
    found = match_candidates(student(objectness=False), ONE, answers)
    assert found.objectness is None
    torch.testing.assert_close(found.logits[0, 0].sigmoid(), torch.tensor([0.8, 0.2, 0.01]))
    fit = 81 / 119
    torch.testing.assert_close(
        found.logits[0, 1].sigmoid(), torch.tensor([0.8 * fit, 0.2 * fit, 0.01 * fit])
    )
    assert float(found.logits[0, 3].max()) == BACKGROUND_LOGIT


def test_a_teacher_with_objectness_keeps_it() -> None:
    seen = torch.tensor([[2.0, -20.0], [3.0, -20.0]])
    found = match_candidates(student(), ONE._replace(objectness=seen), answers)
    assert found.objectness is not None
    assert found.objectness[0, 0] == 2.0
    torch.testing.assert_close(found.logits[0, 0].sigmoid(), torch.tensor([0.8, 0.2, 0.01]))


def test_of_duplicates_the_surest_speaks() -> None:
    twice = teacher([[[0, 0, 10, 10], [0, 0, 10, 10.5]]] * 2, [[[0.3, 0, 0], [0.7, 0, 0]]] * 2)
    found = match_candidates(student(), twice, answers)
    assert found.objectness is not None
    fit = 100 / 105
    torch.testing.assert_close(found.objectness[:, 0].sigmoid(), torch.tensor([0.7, 0.7]) * fit)


def test_what_the_teacher_scores_below_its_threshold_is_background() -> None:
    both = match_candidates(student(), ONE, answers, 0.75)
    assert both.objectness is not None
    assert (both.objectness > BACKGROUND_LOGIT).sum(1).tolist() == [2, 1]
    surer = match_candidates(student(), ONE, answers, 0.85)
    assert surer.objectness is not None
    assert (surer.objectness > BACKGROUND_LOGIT).sum(1).tolist() == [0, 1]


@pytest.mark.parametrize("odds", [0.0, 0.04])
def test_a_teacher_that_sees_nothing_teaches_nothing_but_background(odds: float) -> None:
    silent = teacher([[[0, 0, 10, 10]]] * 2, [[[odds, odds, odds]]] * 2)
    found = match_candidates(student(), silent, answers)
    assert found.objectness is not None
    assert (found.objectness == BACKGROUND_LOGIT).all()
    torch.testing.assert_close(found.xyxy, OURS)


def test_nothing_carries_a_gradient() -> None:
    found = match_candidates(student(), ONE, answers)
    assert not found.xyxy.requires_grad
    assert not found.logits.requires_grad
