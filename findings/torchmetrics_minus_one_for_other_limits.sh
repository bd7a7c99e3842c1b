#!/usr/bin/env bash
# MeanAveragePrecision of torchmetrics with other max_detection_thresholds than 1, 10, 100 (crowded images need more)
# returns map -1 with its default backend, since pycocotools looks for the precision at exactly 100 detections; map_50
# and map_75 beside it are right. backend="faster_coco_eval" returns the right map for the same input. Other
# iou_thresholds put -1 into map_50 and map_75 with both. Nothing is said: a checkpoint that is chosen by map stays the
# first one, and a mean over folds or classes mixes scores with -1.
#
# Seen with torchmetrics 1.9.0, pycocotools 2.0.11, faster-coco-eval 1.8.0, torch 2.14.1, Python 3.11, for detections
# whose map is 0.95:
#   pycocotools       1, 10, 100: 0.95   1, 10, 300: -1     1, 10, 50: -1     map_50 with iou_thresholds [0.6]: -1
#   faster_coco_eval  1, 10, 100: 0.95   1, 10, 300: 0.95   1, 10, 50: 0.95   map_50 with iou_thresholds [0.6]: -1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 \
  torchmetrics==1.9.0 pycocotools==2.0.11 faster-coco-eval==1.8.0
"$folder/venv/bin/python" - 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import contextlib
import io
import sys
import warnings

import torch
from torchmetrics.detection import MeanAveragePrecision

warnings.simplefilter("ignore")
labels = torch.tensor([0, 1])
found = torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40]])
objects = torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 38]])  # IoU 0.9 with the second


def measure(backend, key, **options):
    metric = MeanAveragePrecision(backend=backend, **options)
    scores = torch.tensor([0.9, 0.8])
    with contextlib.redirect_stdout(io.StringIO()):
        metric.update([{"boxes": found, "scores": scores, "labels": labels}], [{"boxes": objects, "labels": labels}])
        return round(float(metric.compute()[key]), 3)


seen = {
    backend: [
        *(measure(backend, "map", max_detection_thresholds=[1, 10, most]) for most in (100, 300, 50)),
        measure(backend, "map_50", max_detection_thresholds=[1, 10, 300]),
        measure(backend, "map_50", iou_thresholds=[0.6]),
    ]
    for backend in ("pycocotools", "faster_coco_eval")
}
print("map at most 100, 300, 50 detections; map_50 at 300; map_50 with iou_thresholds [0.6]")
for backend, values in seen.items():
    print(backend, *values)
expected = {"pycocotools": [0.95, -1, -1, 1, -1], "faster_coco_eval": [0.95, 0.95, 0.95, 1, -1]}
sys.exit(seen != expected)
PY
