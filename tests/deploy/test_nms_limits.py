"""Boxes whose overlap or score meets the limit exactly: one meaning in all runtimes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tutelage.deploy.metadata import Suppression
from tutelage.evaluation.nms import nms
from tutelage.structures import Predictions

TENTHS = [(tenths, 10, tenths / 10) for tenths in range(1, 10)]


def pair(part: int, whole: int) -> torch.Tensor:
    """Two boxes whose overlap is exactly ``part / whole``: the second is a part of the first."""
    return torch.tensor([[[0, 0, 4 * whole, 8], [0, 0, 4 * part, 8]]], dtype=torch.float32)


def apart(gap: int) -> torch.Tensor:
    return torch.tensor([[[0, 0, 10, 10], [10 + gap, 0, 20 + gap, 10]]], dtype=torch.float32)


CASES = [
    *[(pair(part, whole), limit, 2) for part, whole, limit in TENTHS],
    (pair(9, 20), 0.45, 2),
    (pair(13, 20), 0.65, 2),
    (pair(1, 1), 1.0, 2),  # no overlap is more than 1
    (pair(1, 2), 0.49999, 1),
    (pair(1, 2), 0.50001, 2),
    (pair(1, 1000), 0.0, 1),
    (apart(0), 0.0, 2),
    (apart(5), 0.0, 2),
]


def ours(xyxy: torch.Tensor, scores: torch.Tensor, settings: Suppression) -> int:
    level = torch.zeros(2, dtype=torch.int64)
    found = nms(Predictions(xyxy, torch.logit(scores), None, level), **settings.model_dump())
    return len(found[0].score)


def by_onnx_runtime(xyxy: torch.Tensor, scores: torch.Tensor, settings: Suppression) -> int:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxslim")
    from tutelage.deploy.onnx import suppression

    model = suppression(settings, ir=10, opset=20).SerializeToString()
    feed = {"candidates": xyxy.numpy(), "all_scores": scores.numpy()}
    return len(runtime.InferenceSession(model).run(None, feed)[0])


def by_onnx_runtime_with_fixed_sizes(
    xyxy: torch.Tensor, scores: torch.Tensor, settings: Suppression
) -> int:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxslim")
    from tutelage.deploy.onnx import suppression

    model = suppression(settings, ir=10, opset=20, shape=(1, 2, 1)).SerializeToString()
    feed = {"candidates": xyxy.numpy(), "all_scores": scores.numpy()}
    [[rows]] = runtime.InferenceSession(model).run(None, feed)
    assert rows.shape == (2, 6)
    return int((rows[:, 4] > 0).sum())


def by_openvino(xyxy: torch.Tensor, scores: torch.Tensor, settings: Suppression) -> int:
    pytest.importorskip("openvino")
    pytest.importorskip("onnxruntime")
    from tutelage.deploy.openvino import suppression_model
    from tutelage.optional_packages import openvino_core

    precise = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled: Any = openvino_core().compile_model(suppression_model(settings), "CPU", precise)
    return len(compiled([xyxy.numpy(), scores.numpy()])[0])


RUNTIMES = [ours, by_onnx_runtime, by_onnx_runtime_with_fixed_sizes, by_openvino]


@pytest.mark.parametrize("run", RUNTIMES)
def test_a_box_is_dropped_above_the_limit_not_at_it(run) -> None:
    scores = torch.tensor([[[0.9], [0.8]]])
    found = [
        (limit, run(xyxy, scores, Suppression(conf=0.25, iou=limit, max_detections=9)))
        for xyxy, limit, _ in CASES
    ]
    assert found == [(limit, count) for _, limit, count in CASES]


@pytest.mark.parametrize("run", RUNTIMES)
@pytest.mark.parametrize("conf", [0.1, 0.3, 0.5, 0.7])
def test_a_candidate_scores_more_than_the_limit(run, conf: float) -> None:
    above = float(np.nextafter(np.float32(conf), np.float32(1)))
    # the logit of a score may be rounded: two that are surely above and below, one at the limit
    for score, count in ((conf + 1e-4, 2), (conf - 1e-4, 1), *([(above, 2)] * (run != ours))):
        scores = torch.tensor([[[0.9], [score]]])
        assert run(apart(5), scores, Suppression(conf=conf, iou=0.5, max_detections=9)) == count
    if run != ours:
        scores = torch.tensor([[[0.9], [conf]]])
        assert run(apart(5), scores, Suppression(conf=conf, iou=0.5, max_detections=9)) == 1
