"""Suppression: the golden vectors, and what must hold for any predictions."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from tutelage.evaluation import nms
from tutelage.evaluation.nms import MAX_CANDIDATES
from tutelage.structures import Detections, Predictions

# x, y, w, h, objectness, class 0, class 1: computed with the published code
ROWS = torch.tensor(
    [
        [100, 100, 50, 50, 0.9, 0.8, 0.6],
        [102, 101, 50, 50, 0.85, 0.9, 0.1],
        [300, 300, 80, 40, 0.6, 0.3, 0.7],
        [301, 300, 80, 41, 0.5, 0.2, 0.9],
        [500, 500, 10, 10, 0.2, 0.9, 0.9],
        [100, 100, 50, 50, 0.001, 0.9, 0.9],
    ]
)


def predictions(rows: Tensor, *, objectness: bool = True) -> Predictions:
    """Decoded rows as predictions of one image."""
    box, scores = rows[None, :, :4], rows[None, :, 4:].logit()
    half = box[..., 2:] / 2
    xyxy = torch.cat([box[..., :2] - half, box[..., :2] + half], -1)
    level = torch.zeros(len(rows), dtype=torch.int64)
    return Predictions(xyxy, scores[..., 1:], scores[..., 0] if objectness else None, level)


def rows_of(found: Detections) -> list[list[float]]:
    columns = torch.cat([found.xyxy, found.score[:, None], found.label[:, None].float()], 1)
    return columns.tolist()


def assert_rows(found: Detections, expected: list[tuple[float, ...]]) -> None:
    got = sorted(rows_of(found), key=lambda row: (-round(row[4], 5), row[5]))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-3)


def test_golden_multi_label() -> None:
    [found] = nms(predictions(ROWS), conf=0.001, iou=0.6, multi_label=True)
    assert_rows(
        found,
        [
            (77, 76, 127, 126, 0.765, 0),
            (75, 75, 125, 125, 0.54, 1),
            (261, 279.5, 341, 320.5, 0.45, 1),
            (260, 280, 340, 320, 0.18, 0),
            (495, 495, 505, 505, 0.18, 0),
            (495, 495, 505, 505, 0.18, 1),
        ],
    )


def test_golden_single_label() -> None:
    [found] = nms(predictions(ROWS), conf=0.25, iou=0.45)
    assert_rows(found, [(77, 76, 127, 126, 0.765, 0), (261, 279.5, 341, 320.5, 0.45, 1)])


def test_golden_single_class_scores_by_objectness_alone() -> None:
    [found] = nms(predictions(ROWS[:, :6]), conf=0.25, iou=0.45, multi_label=True)
    assert_rows(found, [(75, 75, 125, 125, 0.9, 0), (260, 280, 340, 320, 0.6, 0)])


def test_without_objectness_the_class_probability_counts() -> None:
    [found] = nms(predictions(ROWS, objectness=False), conf=0.5, iou=0.45)
    assert found.score.tolist() == pytest.approx([0.9, 0.9, 0.9], abs=1e-5)
    [single] = nms(predictions(ROWS[:, :6], objectness=False), conf=0.5, iou=0.45)
    assert single.score.tolist() == pytest.approx([0.9, 0.9], abs=1e-5)


def crowd(count: int = 400, classes: int = 3, seed: int = 0) -> Predictions:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(2, count, 2, generator=generator) * 200 - 40
    size = torch.rand(2, count, 2, generator=generator) * 60 + 2
    logits = torch.randn(2, count, classes, generator=generator) * 2
    objectness = torch.randn(2, count, generator=generator) * 2
    return Predictions(
        torch.cat([corner, corner + size], -1),
        logits,
        objectness,
        torch.zeros(count, dtype=torch.int64),
    )


def overlap(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    inner = max(width, 0.0) * max(height, 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return inner / (sum(areas) - inner)


def brute_force(
    made: Predictions, image: int, *, conf: float, iou: float, multi: bool, agnostic: bool
) -> list[tuple[float, int, int]]:
    """Candidates one after the other, in plain Python."""
    assert made.objectness is not None
    scores = (made.logits[image].sigmoid() * made.objectness[image].sigmoid()[:, None]).tolist()
    boxes = made.xyxy[image].tolist()
    pairs = [
        (row_scores[label], row, label)
        for row, row_scores in enumerate(scores)
        for label in (range(len(row_scores)) if multi else [row_scores.index(max(row_scores))])
        if row_scores[label] > conf
    ]
    kept: list[tuple[float, int, int]] = []
    for score, row, label in sorted(pairs, reverse=True):
        rivals = [other for _, other, other_label in kept if agnostic or other_label == label]
        if all(overlap(boxes[row], boxes[other]) <= iou for other in rivals):
            kept.append((score, row, label))
    return kept


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("agnostic", [False, True])
def test_equals_a_plain_loop(multi: bool, agnostic: bool) -> None:
    made = crowd()
    found = nms(made, conf=0.2, iou=0.5, multi_label=multi, agnostic=agnostic, max_detections=1000)
    for image in range(2):
        expected = brute_force(made, image, conf=0.2, iou=0.5, multi=multi, agnostic=agnostic)
        assert len(found[image].score) == len(expected) > 30
        assert found[image].score.tolist() == pytest.approx(
            [score for score, _, _ in expected], abs=1e-6
        )
        assert found[image].label.tolist() == [label for _, _, label in expected]
        boxes = made.xyxy[image, [row for _, row, _ in expected]]
        assert torch.equal(found[image].xyxy, boxes)


def test_classes_do_not_meet_left_of_the_canvas() -> None:
    """A box left of the origin must not be taken for the right-hand end of the class before."""
    boxes = torch.tensor([[[80.0, 0, 100, 20], [-21.0, 0, -1, 20]]])
    logits = torch.tensor([[[9.0, -9.0], [-9.0, 9.0]]])
    made = Predictions(boxes, logits, torch.full((1, 2), 9.0), torch.zeros(2, dtype=torch.int64))
    assert len(nms(made, conf=0.5)[0].score) == 2


def test_limits_keep_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    made = crowd(1000)
    full = nms(made, conf=0.001, iou=0.6, multi_label=True, max_detections=10_000)
    few = nms(made, conf=0.001, iou=0.6, multi_label=True, max_detections=7)
    for all_of_it, cut in zip(full, few, strict=True):
        assert len(cut.score) == 7
        assert torch.equal(cut.score, all_of_it.score[:7])
        assert (all_of_it.score.diff() <= 0).all()
    assert MAX_CANDIDATES == 30_000
    monkeypatch.setattr(sys.modules["tutelage.evaluation.nms"], "MAX_CANDIDATES", 50)
    for limited, all_of_it in zip(nms(made, conf=0.0, iou=1.0), nms_all(made), strict=True):
        assert torch.equal(limited.score, all_of_it[:50])


def nms_all(made: Predictions) -> Tensor:
    """The scores of all candidates, best first."""
    assert made.objectness is not None
    best = made.logits.sigmoid().amax(-1) * made.objectness.sigmoid()
    return best.sort(1, descending=True).values


def test_class_map_drops_before_it_counts_and_joins() -> None:
    made = crowd(classes=4)
    alone = nms(made, conf=0.1, iou=0.5, multi_label=True, class_map={2: 7}, max_detections=5)
    for image, found in enumerate(alone):
        assert set(found.label.tolist()) == {7}
        assert len(found.score) == 5
        only = Predictions(
            made.xyxy, made.logits[:, :, 2:3].repeat(1, 1, 2), made.objectness, made.level
        )
        only.logits[..., 1] = -99
        same = nms(only, conf=0.1, iou=0.5, multi_label=True, max_detections=5)[image]
        assert torch.equal(found.xyxy, same.xyxy)
    joined = nms(made, conf=0.1, iou=0.5, multi_label=True, class_map=dict.fromkeys(range(4), 0))
    agnostic = nms(made, conf=0.1, iou=0.5, multi_label=True, agnostic=True)
    assert torch.equal(joined[0].xyxy, agnostic[0].xyxy)
    best = nms(made, conf=0.0, iou=1.0, class_map={1: 1, 3: 3}, max_detections=10**9)[0]
    assert len(best.score) == 400  # each candidate by the better of the two
    assert set(best.label.tolist()) == {1, 3}


def test_nothing_found_and_values_that_are_not_finite() -> None:
    made = crowd()
    for found in nms(made, conf=1.0):
        assert found.xyxy.shape == (0, 4)
        assert found.score.shape == found.label.shape == (0,)
    broken = made._replace(xyxy=made.xyxy.clone(), logits=made.logits.clone())
    broken.xyxy[0, :100] = float("inf")
    broken.xyxy[0, 100:200, 2] = float("nan")
    broken.logits[0, 200:300] = float("nan")
    found = nms(broken, conf=0.2, iou=0.5, max_detections=1000)[0]
    assert found.xyxy.isfinite().all()
    assert found.score.isfinite().all()
    sound = Predictions(
        made.xyxy[:, 300:], made.logits[:, 300:], made.objectness[:, 300:], made.level[300:]
    )
    assert torch.equal(found.xyxy, nms(sound, conf=0.2, iou=0.5, max_detections=1000)[0].xyxy)


def test_half_precision_counts_in_float32() -> None:
    made = crowd()
    half = made._replace(logits=made.logits.half(), objectness=made.objectness.half())
    assert nms(half)[0].score.dtype == torch.float32
