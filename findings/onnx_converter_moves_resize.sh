#!/usr/bin/env bash
# onnx.version_converter, which lifts an old model to an opset that a runtime or a quantiser asks for, changes what
# the resizing in it computes. Resize 10 and Upsample 9 put the first pixel on the first pixel; Resize 11 has an
# attribute for that, and its default is another (centres of pixels). The converter does not write the attribute.
# Maps that are doubled shift by a quarter of a pixel of the small map, halved ones by half a pixel: a heatmap of
# stride 8 that is doubled has its peaks two pixels of the picture away from where they were. The model passes the
# checker. Nearest comes out right where a map is doubled (so that a usual neck hides this), and not at a quarter.
#
# Seen with onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, Python 3.11; first values of the resized ramp 0 1 .. 7;
# expected the same before and after
#                                        opset 9 or 10      opset 11, 13, 18, 21
#   Upsample 9, linear, 2                0.0 0.5 1.0 1.5    0.0 0.25 0.75 1.25
#   Resize 10, linear, 2                 0.0 0.5 1.0 1.5    0.0 0.25 0.75 1.25
#   Resize 10, linear, 0.5               0.0 2.0 4.0 6.0    0.5 2.5 4.5 6.5
#   Resize 10, nearest, 0.25             0.0 4.0            1.0 5.0
#   Resize 10, nearest, 2                0.0 0.0 1.0 1.0    0.0 0.0 1.0 1.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --no-deps --disable-pip-version-check onnx==1.23.2 \
  ml_dtypes==0.6.0 protobuf==7.36.2 typing_extensions==4.16.0 onnxruntime==1.32.0 flatbuffers==25.12.19 \
  packaging==26.4 numpy==2.4.6
"$folder/venv/bin/python" - 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper, version_converter

LATER = (11, 13, 18, 21)
RAMP = np.broadcast_to(np.arange(8, dtype=np.float32), (1, 1, 8, 8)).copy()


def old(operator, opset, mode, scale):
    scales = numpy_helper.from_array(np.array([1, 1, scale, scale], np.float32), "scales")
    size = int(8 * scale)
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "scales"], ["y"], mode=mode)],
        "resize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, size, size])],
        [scales],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def row(model):
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": RAMP})[0][0, 0, 0, :4].tolist()


def before_and_after(operator, opset, mode, scale):
    model = old(operator, opset, mode, scale)
    before = row(model)
    after = [row(version_converter.convert_version(model, later)) for later in LATER]
    print(f"{operator} {opset}, {mode}, {scale}: {before} -> {after[0]}")
    return before, after


print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__, "numpy", np.__version__)
up, moved_up = [0, 0.5, 1, 1.5], [0, 0.25, 0.75, 1.25]
same = [
    before_and_after("Upsample", 9, "linear", 2) == (up, [moved_up] * 4),
    before_and_after("Resize", 10, "linear", 2) == (up, [moved_up] * 4),
    before_and_after("Resize", 10, "linear", 0.5) == ([0, 2, 4, 6], [[0.5, 2.5, 4.5, 6.5]] * 4),
    before_and_after("Resize", 10, "nearest", 0.25) == ([0, 4], [[1, 5]] * 4),
    before_and_after("Resize", 10, "nearest", 2) == ([0, 0, 1, 1], [[0, 0, 1, 1]] * 4),
]
if not all(same):
    sys.exit(f"the converter no longer behaves as described: {same}")
PY
