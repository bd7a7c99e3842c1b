#!/usr/bin/env bash
# A detector whose ONNX file holds its own preprocessing can say in Resize that the picture keeps its shape
# (keep_aspect_ratio_policy) and that it is smoothed while it shrinks (antialias), as Pillow does. OpenVINO reads the
# file, drops both attributes without a word and computes the plain Resize: every picture that is not square is
# distorted (a Pad after it that was to fill the rest gets another size), and fine structures alias. With a square
# picture that is not made smaller, as in most tests, nothing differs.
#
# Seen with onnx 1.23.2, onnxruntime 1.32.0, openvino 2026.4.1, numpy 2.4.6, Python 3.11; expected one answer a line
#                                                           ONNX Runtime    onnx (reference)  OpenVINO
#   480 x 640, sizes 320 x 320, "stretch": rows, columns    320, 320        320, 320          320, 320
#   the same, "not_larger"                                  240, 320        240, 320          320, 320
#   the same, "not_smaller"                                 320, 427        320, 427          320, 320
#   every fourth column 255, linear, to a quarter: mean     0               0                 0
#   the same, antialias=1                                   64              64                0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --no-deps --disable-pip-version-check onnx==1.23.2 \
  ml_dtypes==0.6.0 protobuf==7.36.2 typing_extensions==4.16.0 onnxruntime==1.32.0 flatbuffers==25.12.19 \
  openvino==2026.4.1 openvino-telemetry==2025.2.0 packaging==26.4 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

path, core = Path(sys.argv[1]) / "resize.onnx", openvino.Core()


def resized(picture, sizes, **attributes):
    graph = helper.make_graph(
        [helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="linear", axes=[2, 3], **attributes)],
        "resize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, picture.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, "rows", "columns"])],
        [numpy_helper.from_array(np.array(sizes, np.int64), "sizes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    exact = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    return [
        session.run(None, {"x": picture})[0],
        ReferenceEvaluator(model).run(None, {"x": picture})[0],
        core.compile_model(core.read_model(path), "CPU", exact)([picture])[0].copy(),
    ]


def shapes(policy):
    answers = resized(np.zeros((1, 1, 480, 640), np.float32), (320, 320), keep_aspect_ratio_policy=policy)
    found = [answer.shape[2:] for answer in answers]
    print(f"{policy}: ONNX Runtime {found[0]}, reference {found[1]}, OpenVINO {found[2]}")
    return found


def means(antialias):
    columns = np.zeros((1, 1, 128, 128), np.float32)
    columns[..., ::4] = 255
    answers = resized(columns, (32, 32), antialias=antialias)
    found = [round(float(answer.mean())) for answer in answers]
    print(f"antialias={antialias}: ONNX Runtime {found[0]}, reference {found[1]}, OpenVINO {found[2]}")
    return found


print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__, "openvino", openvino.__version__)
squashed = (320, 320)
same = [
    shapes("stretch") == [squashed] * 3,
    shapes("not_larger") == [(240, 320), (240, 320), squashed],
    shapes("not_smaller") == [(320, 427), (320, 427), squashed],
    means(0) == [0, 0, 0],
    means(1) == [64, 64, 0],
]
if not all(same):
    sys.exit(f"a runtime no longer behaves as described: {same}")
PY
