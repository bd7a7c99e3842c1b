"""Exports whose shapes are all fixed, the number of detections among them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.deploy.conftest import GRAPHS, NAMES, SIZE
from tutelage.deploy.export import export
from tutelage.deploy.predict import predict
from tutelage.deploy.runtime import open_model, read_metadata
from tutelage.errors import ConfigError
from tutelage.evaluation.nms import nms
from tutelage.evaluation.predictor import predictor


@pytest.mark.parametrize("most", [500, 4])
@pytest.mark.parametrize("to", GRAPHS)
def test_all_sizes_may_be_fixed(to, most, detector, run) -> None:
    settings = {"conf": 0.1, "iou": 0.3, "max_detections": most}
    done = export(run, to, nms=True, fixed_batch=2, conf=0.1, iou=0.3, max_det=most)
    assert [way._asdict() for way in done.ways] == [{"batch": 2, "canvas_hw": (SIZE, SIZE)}]
    about = read_metadata(done.path)
    assert about.shape == (2, SIZE, SIZE)
    assert f"In: images (2, 3, {SIZE}, {SIZE}) float32" in about.description
    assert (
        "detections (2, k, 6): x1, y1, x2, y2 in pixels of the canvas, score" in about.description
    )
    network = open_model(done.path, "cpu")
    images = torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():  # three images: the second batch is filled up
        candidates = predictor(detector)(images)
        expected = nms(candidates, **settings)
        found = nms(network.run(images), **settings)
    [rows] = network.network(images)
    assert rows.shape == (3, min(most, candidates.xyxy.shape[1]), 6)
    for image, mine, theirs in zip(rows, found, expected, strict=True):
        count = len(theirs.score)
        assert 3 < count <= most
        assert (image[:count, 4] > 0.1).all()
        assert (np.diff(image[:count, 4]) <= 0).all()
        assert (image[count:] == 0).all()
        torch.testing.assert_close(mine.score, theirs.score, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(mine.xyxy, theirs.xyxy, rtol=1e-4, atol=1e-2)
        assert torch.equal(mine.label, theirs.label)
    assert most == 4 or {int(label) for x in found for label in x.label} == {0, 1}


@pytest.mark.parametrize("to", GRAPHS)
def test_fixed_sizes_without_anything_found(to, run) -> None:
    done = export(run, to, nms=True, fixed_batch=1, conf=1.0)
    [rows] = open_model(done.path, "cpu").network(torch.rand(1, 3, SIZE, SIZE))
    assert (rows == 0).all()
    with pytest.raises(ConfigError, match=f"takes {SIZE} only, its shapes are fixed"):
        predict(done.path, np.zeros((20, 40, 3), np.uint8), img_size=2 * SIZE, device="cpu")


def test_fixed_sizes_in_the_other_forms(run) -> None:
    onnx = pytest.importorskip("onnx")
    done = export(run, fixed_batch=2)
    graph = onnx.load(done.path).graph
    for value, size in zip((*graph.input, *graph.output), (SIZE, 4, len(NAMES)), strict=True):
        sizes = [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        assert (sizes[0], sizes[-1], 0 in sizes) == (2, size, False)
    pictures = [np.full((20, 40, 3), 30 * i, np.uint8) for i in range(3)]  # no squares
    inferred = onnx.shape_inference.infer_shapes(
        onnx.load(export(run, nms=True, fixed_batch=1).path), strict_mode=True, data_prop=True
    )
    free = [
        value.name
        for value in inferred.graph.value_info
        if not all(axis.HasField("dim_value") for axis in value.type.tensor_type.shape.dim)
    ]
    assert free == ["survivors", "their_scores", "image_box"]
    assert all(len(each) for each in predict(done.path, pictures, conf=0.1, device="cpu"))
    assert export(run, "pt2", fixed_batch=2).difference < 1e-4
    integers = export(run, fixed_batch=2, int8=True, calibration=3)
    assert read_metadata(integers.path).shape == (2, SIZE, SIZE)
