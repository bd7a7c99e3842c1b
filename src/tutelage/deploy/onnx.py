"""ONNX models from traced networks: simplified, with optional suppression."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import cast

import onnx
import onnx.compose
import onnx.parser
import onnxslim
import torch
from onnx import ModelProto, ValueInfoProto
from torch.export import ExportedProgram
from torch.onnx import ONNXProgram

from tutelage.deploy.metadata import Metadata, Suppression
from tutelage.deploy.network import BOXES, IMAGES, SCORES
from tutelage.files import atomic_write
from tutelage.optional_packages import quiet

# Equal to tutelage.evaluation.nms: only the best class of a candidate counts, and the limit is per
# image. ONNX limits per image and class, so the survivors are sorted by score, and a cumulative sum
# in a column per image gives the rank of each detection in its image.
SUPPRESS = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
suppress (float[batch,n,4] candidates, float[batch,n,c] all_scores) => (float[m,7] detections)
<int64[1] limit = {{{limit}}}, float[1] iou = {{{iou}}}, float[1] conf = {{{conf}}},
 float most = {{{limit}}}, float none = {{0}}, int64[2] image_and_box = {{0, 2}},
 int64 zero = {{0}}, int64 one = {{1}}, int64 two = {{2}}, int64[1] flat = {{-1}},
 int64[1] first = {{0}}, int64[1] second = {{1}}>
{{
   shape = Shape(all_scores)
   batch_size = Gather(shape, zero)
   class_count = Gather(shape, two)
   class_numbers = Range(zero, class_count, one)
   best_class = ArgMax<axis = 2, keepdims = 1>(all_scores)
   is_best = Equal(best_class, class_numbers)
   best_scores = Where(is_best, all_scores, none)
   by_class = Transpose<perm = [0, 2, 1]>(best_scores)
   survivors = NonMaxSuppression(candidates, by_class, limit, iou, conf)
   their_scores = GatherND(by_class, survivors)
   count = Shape(their_scores)
   sorted_scores, order = TopK<axis = 0>(their_scores, count)
   sorted = Gather<axis = 0>(survivors, order)
   their_image = Gather<axis = 1>(sorted, first)
   image_numbers = Range(zero, batch_size, one)
   in_column = Equal(their_image, image_numbers)
   ones = Cast<to = 1>(in_column)
   running = CumSum(ones, zero)
   own = Mul(running, ones)
   place = ReduceSum<keepdims = 0>(own, second)
   is_kept = LessOrEqual(place, most)
   kept_row = NonZero(is_kept)
   kept = Reshape(kept_row, flat)
   chosen = Gather<axis = 0>(sorted, kept)
   score = Gather<axis = 0>(sorted_scores, kept)
   image_box = Gather<axis = 1>(chosen, image_and_box)
   corners = GatherND(candidates, image_box)
   score_column = Unsqueeze(score, second)
   image = Gather<axis = 1>(chosen, first)
   image_number = Cast<to = 1>(image)
   label = Gather<axis = 1>(chosen, second)
   label_number = Cast<to = 1>(label)
   detections = Concat<axis = 1>(image_number, corners, label_number, score_column)
}}
"""

# The same with an output of fixed size. The scores of the survivors are put where their candidates
# are, zeros elsewhere, so that a TopK of a constant size sorts them: all sizes but those between
# the suppression and these scores are known before it runs, as TensorRT wishes.
SUPPRESS_FIXED = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
suppress (float[{batch},{n},4] candidates, float[{batch},{n},{c}] all_scores)
=> (float[{batch},{limit},6] detections)
<int64[1] limit = {{{limit}}}, float[1] iou = {{{iou}}}, float[1] conf = {{{conf}}},
 int64[2] image_and_box = {{0, 2}}, int64[2] scores_shape = {{{batch}, {n}}},
 int64[{c}] class_numbers = {{{numbers}}}, float none = {{0}}, int64[1] last = {{2}}>
{{
   best_class = ArgMax<axis = 2, keepdims = 1>(all_scores)
   is_best = Equal(best_class, class_numbers)
   best_scores = Where(is_best, all_scores, none)
   by_class = Transpose<perm = [0, 2, 1]>(best_scores)
   survivors = NonMaxSuppression(candidates, by_class, limit, iou, conf)
   their_scores = GatherND(by_class, survivors)
   image_box = Gather<axis = 1>(survivors, image_and_box)
   zeros = Expand(none, scores_shape)
   placed_scores = ScatterND(zeros, image_box, their_scores)
   sorted_scores, sorted = TopK<axis = 1>(placed_scores, limit)
   box = Unsqueeze(sorted, last)
   corners = GatherND<batch_dims = 1>(candidates, box)
   label = GatherND<batch_dims = 1>(best_class, box)
   label_number = Cast<to = 1>(label)
   score = Unsqueeze(sorted_scores, last)
   rows = Concat<axis = 2>(corners, score, label_number)
   is_found = Greater(score, none)
   detections = Where(is_found, rows, none)
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
    return _named(cast("ModelProto", onnxslim.slim(cast("ONNXProgram", converted).model_proto)))


def _named(model: ModelProto) -> ModelProto:
    """Rename the free sizes, which torch calls e.g. ``s34``."""
    symbol = re.compile(r"\bs\d+\b")
    sizes = [axis.dim_param for axis in model.graph.input[0].type.tensor_type.shape.dim]
    if not any(sizes):
        return model
    symbols = [symbol.search(size) for size in sizes if size]
    names = ("batch", "rows", "columns")
    known = {match[0]: name for match, name in zip(symbols, names, strict=True) if match}
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param:
                axis.dim_param = symbol.sub(lambda m: known.get(m[0], m[0]), axis.dim_param)
    return model


def suppression(
    settings: Suppression, *, ir: int, opset: int, shape: tuple[int, int, int] | None = None
) -> ModelProto:
    """Return non-maximum suppression as a separate model.

    Args:
        settings: Its thresholds.
        ir: Version of the ONNX file.
        opset: Version of its operators.
        shape: Shape ``(b, n, c)`` of the scores if it is fixed, else None.

    Returns:
        A model from boxes and scores to detections ``(m, 7)``: number of the image in the batch,
        x1, y1, x2, y2 in pixels of the canvas, class, score; best score first. With fixed shapes
        to detections ``(b, k, 6)``: x1, y1, x2, y2, score, class; best score first, then zeros.
    """
    limits = {"iou": float(settings.iou), "conf": float(settings.conf)}
    limits |= {"ir": ir, "opset": opset, "limit": settings.max_detections}
    if shape is None:
        return onnx.parser.parse_model(SUPPRESS.format(**limits))
    batch, candidates, classes = shape
    limits["limit"] = min(settings.max_detections, candidates)
    numbers = ", ".join(map(str, range(classes)))
    text = SUPPRESS_FIXED.format(**limits, batch=batch, n=candidates, c=classes, numbers=numbers)
    return onnx.parser.parse_model(text)


def add_suppression(source: Path, target: Path, metadata: Metadata) -> None:
    """Write the model of ``source`` followed by the suppression of ``metadata``."""
    model = onnx.load(source)
    settings = cast("Suppression", metadata.nms)
    shape = None
    if metadata.shape is not None:
        batch, candidates, classes = _shape(model.graph.output[1])
        shape = (batch, candidates, classes)
    tail = suppression(
        settings, ir=model.ir_version, opset=model.opset_import[0].version, shape=shape
    )
    merged = onnx.compose.merge_models(
        model, tail, io_map=[(BOXES, "candidates"), (SCORES, "all_scores")]
    )
    onnx.checker.check_model(merged)
    write_onnx(merged, target, metadata)


def _shape(value: ValueInfoProto) -> list[int]:
    return [axis.dim_value for axis in value.type.tensor_type.shape.dim]


def count_parameters(model: ModelProto) -> int:
    """Count the weights and biases of the convolutions, the only parameters of a folded network.

    A bias of zeros counts although simplification removes it.
    """
    shapes = {each.name: each.dims for each in model.graph.initializer}
    weights = [shapes[node.input[1]] for node in model.graph.node if node.op_type == "Conv"]
    return sum(math.prod(shape) + shape[0] for shape in weights)


def write_onnx(model: ModelProto, path: Path, metadata: Metadata) -> None:
    """Write a model with its metadata atomically."""
    onnx.helper.set_model_props(model, metadata.strings())
    model.producer_name = "tutelage"
    model.producer_version = metadata.tutelage
    model.doc_string = metadata.description
    atomic_write(path, lambda file: file.write(model.SerializeToString()))
