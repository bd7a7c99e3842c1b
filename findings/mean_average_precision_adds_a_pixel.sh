#!/usr/bin/env bash
# The package mean-average-precision takes corners for the first and last pixel: boxes and intersections are
# a pixel wider and higher than in COCO's evaluation. The smaller the objects, the more detections pass:
# the AP of tiny objects is inflated, beside numbers of others that are not.
#
# Seen with mean-average-precision 2024.1.5.0, pycocotools 2.0.11, numpy 2.4.6, Python 3.11:
#   a box of 10 x 4.6 on an object of 10 x 10, IoU 0.46; expected AP50 0.0
#   mean-average-precision 1.0, pycocotools 0.0; on 100 x 46 of 100 x 100 both 0.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --no-deps --disable-pip-version-check \
  mean-average-precision==2024.1.5.0 pycocotools==2.0.11 pandas==2.3.3 numpy==2.4.6 \
  python-dateutil==2.9.0.post0 pytz==2026.6 tzdata==2026.6 six==1.17.0
"$folder/venv/bin/python" - "$folder" 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import contextlib
import io
import sys

import numpy as np
from mean_average_precision import MetricBuilder
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def package(side, height):
    metric = MetricBuilder.build_evaluation_metric("map_2d", async_mode=False, num_classes=1)
    found, truth = [[0, 0, side, height, 0, 0.9]], [[0, 0, side, side, 0, 0, 0]]
    metric.add(np.array(found, float), np.array(truth, float))
    result = metric.value(
        iou_thresholds=0.5, recall_thresholds=np.linspace(0, 1, 101), mpolicy="soft"
    )
    return float(result["mAP"])


def official(side, height):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": 1}],
            "categories": [{"id": 1}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0,
                             "bbox": [0, 0, side, side], "area": side * side}],
        }
        truth.createIndex()
        found = truth.loadRes(
            [{"image_id": 1, "category_id": 1, "bbox": [0, 0, side, height], "score": 0.9}]
        )
        run = COCOeval(truth, found, "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return float(run.stats[1])


small = package(10, 4.6), official(10, 4.6)
large = package(100, 46), official(100, 46)
print(f"AP50 at IoU 0.46 (package, pycocotools): 10 px {small}, 100 px {large}")
if small != (1, 0) or large != (0, 0):
    sys.exit("mean-average-precision no longer behaves as described")
PY
