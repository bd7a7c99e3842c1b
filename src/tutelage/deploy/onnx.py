"""From a traced network to an ONNX model: simplified, counted, perhaps with suppression."""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast

import onnx
import onnx.compose
import onnx.parser
import onnxslim
import torch
from onnx import ModelProto
from torch.export import ExportedProgram
from torch.onnx import ONNXProgram

from tutelage.deploy.metadata import Metadata, Suppression
from tutelage.deploy.network import BOXES, IMAGES, SCORES, quiet
from tutelage.weights.store import atomic_write

DETECTIONS = "detections"

# Only the best class of a candidate counts, as in the suppression of tutelage.evaluation.nms.
SUPPRESS = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
suppress (float[batch,n,4] candidates, float[batch,n,c] all_scores) => (float[m,7] detections)
<int64[1] classes = {{2}}, int64[1] limit = {{{limit}}}, float[1] iou = {{{iou}}},
 float[1] conf = {{{conf}}}, float zero = {{0}}, int64[2] image_and_box = {{0, 2}},
 int64[1] image_column = {{0}}, int64[1] class_column = {{1}}>
{{
   best = ReduceMax<keepdims = 1>(all_scores, classes)
   is_best = Equal(all_scores, best)
   best_scores = Where(is_best, all_scores, zero)
   by_class = Transpose<perm = [0, 2, 1]>(best_scores)
   chosen = NonMaxSuppression(candidates, by_class, limit, iou, conf)
   places = Gather<axis = 1>(chosen, image_and_box)
   corners = GatherND(candidates, places)
   score = GatherND(by_class, chosen)
   score_column = Unsqueeze(score, class_column)
   image = Gather<axis = 1>(chosen, image_column)
   image_number = Cast<to = 1>(image)
   label = Gather<axis = 1>(chosen, class_column)
   label_number = Cast<to = 1>(label)
   detections = Concat<axis = 1>(image_number, corners, label_number, score_column)
}}
"""


def to_onnx(program: ExportedProgram) -> ModelProto:
    """Convert and simplify a traced network: images to boxes and scores."""
    with quiet():
        converted = torch.onnx.export(
            program,
            (),
            dynamo=True,
            input_names=[IMAGES],
            output_names=[BOXES, SCORES],
            verbose=False,
        )
    return cast("ModelProto", onnxslim.slim(cast("ONNXProgram", converted).model_proto))


def with_suppression(model: ModelProto, settings: Suppression) -> ModelProto:
    """Append non-maximum suppression.

    Returns:
        A model from images to detections ``(m, 7)``: number of the image in the batch, x1, y1, x2,
        y2 in pixels of the canvas, class, score.
    """
    text = SUPPRESS.format(
        ir=model.ir_version,
        opset=model.opset_import[0].version,
        limit=settings.max_detections,
        iou=settings.iou,
        conf=settings.conf,
    )
    tail = onnx.parser.parse_model(text)
    merged = onnx.compose.merge_models(
        model, tail, io_map=[(BOXES, "candidates"), (SCORES, "all_scores")]
    )
    onnx.checker.check_model(merged)
    return merged


def count_parameters(model: ModelProto) -> int:
    """Count the weights and biases of the convolutions, which are all that a folded network has.

    Simplification leaves out a bias of zeros; it counts.
    """
    shapes = {each.name: each.dims for each in model.graph.initializer}
    weights = [shapes[node.input[1]] for node in model.graph.node if node.op_type == "Conv"]
    return sum(math.prod(shape) + shape[0] for shape in weights)


def read_onnx(path: Path) -> ModelProto:
    """Read a model that was written here."""
    return onnx.load(path)


def write_onnx(model: ModelProto, path: Path, metadata: Metadata) -> None:
    """Write a model with its metadata in one step."""
    onnx.helper.set_model_props(model, metadata.strings())
    model.producer_name = "tutelage"
    model.producer_version = metadata.tutelage
    atomic_write(path, lambda file: file.write(model.SerializeToString()))
