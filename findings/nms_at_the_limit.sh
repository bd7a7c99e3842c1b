#!/usr/bin/env bash
# ONNX's NonMaxSuppression removes boxes whose IoU exceeds the limit, and so do ONNX Runtime and OpenCV.
# OpenVINO, given the same file, also removes those whose IoU equals it. Limits are round numbers, and boxes
# on a grid meet them; with the limit 0 (no two boxes may touch) OpenVINO leaves one box of a whole picture.
#
# Seen with onnx 1.23.2, onnxruntime 1.32.0, openvino 2026.4.1, opencv-python-headless 5.0.0.93, numpy 2.4.6,
# Python 3.11; boxes that are left; expected 2 each
#   IoU 0.5, limit 0.5:           ONNX Runtime 2, OpenCV 2, OpenVINO 1
#   boxes far apart, limit 0:     ONNX Runtime 2, OpenCV 2, OpenVINO 1
#   the same box twice, limit 1:  ONNX Runtime 2, OpenCV 2, OpenVINO 1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --no-deps --disable-pip-version-check onnx==1.23.2 \
  ml_dtypes==0.6.0 protobuf==7.36.2 typing_extensions==4.16.0 onnxruntime==1.32.0 flatbuffers==25.12.19 \
  openvino==2026.4.1 openvino-telemetry==2025.2.0 packaging==26.4 numpy==2.4.6 \
  opencv-python-headless==5.0.0.93
"$folder/venv/bin/python" - "$folder" 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import sys

import cv2
import numpy as np
import onnxruntime
import openvino
from onnx import TensorProto, helper

CASES = {
    "IoU 0.5, limit 0.5": ([[0, 0, 10, 10], [0, 0, 10, 5]], 0.5),
    "boxes far apart, limit 0": ([[0, 0, 10, 10], [50, 50, 60, 60]], 0.0),
    "the same box twice, limit 1": ([[0, 0, 10, 10], [0, 0, 10, 10]], 1.0),
}
SCORES = [0.9, 0.8]


def model(limit):
    floats, whole = TensorProto.FLOAT, TensorProto.INT64
    node = helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "limit"], ["kept"])
    graph = helper.make_graph(
        [node],
        "nms",
        [
            helper.make_tensor_value_info("boxes", floats, [1, 2, 4]),
            helper.make_tensor_value_info("scores", floats, [1, 1, 2]),
        ],
        [helper.make_tensor_value_info("kept", whole, [None, 3])],
        [
            helper.make_tensor("most", whole, [1], [10]),
            helper.make_tensor("limit", floats, [1], [limit]),
        ],
    )
    opset = [helper.make_opsetid("", 13)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


result = {}
for case, (boxes, limit) in CASES.items():
    content = model(limit)
    feeds = {"boxes": np.array([boxes], np.float32), "scores": np.array([[SCORES]], np.float32)}
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(content, b""), "CPU")
    sizes = [[x, y, right - x, bottom - y] for x, y, right, bottom in boxes]
    result[case] = (
        len(session.run(None, feeds)[0]),
        len(cv2.dnn.NMSBoxes(sizes, SCORES, 0.0, limit)),
        int((compiled(feeds)[0][:, 0] >= 0).sum()),
    )
    runtime, opencv, vino = result[case]
    print(f"{case}: ONNX Runtime {runtime}, OpenCV {opencv}, OpenVINO {vino}")
if any(kept != (2, 2, 1) for kept in result.values()):
    sys.exit("a runtime no longer behaves as described")
PY
