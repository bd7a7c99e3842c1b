#!/usr/bin/env bash
# IntersectionOverUnion of torchmetrics.detection, which sounds like the quality of the boxes that were found, is the mean
# over all pairs of a detection and an object of one class, also of those that have nothing to do with each other. A
# detector that finds every object exactly scores 1 with one object of a class, 1/2 with two, 1/10 with ten: the metric
# counts how crowded an image is. With GIoU, DIoU and CIoU, whose values for distant boxes are negative, the score of
# perfect boxes falls below 0. An iou_threshold leaves out the pairs below it, though not by default.
#
# Seen with torchmetrics 1.9.0, torch 2.14.1, torchvision 0.29.1, Python 3.11; boxes of 10 pixels, 20 apart, every
# detection equal to its object; expected 1 everywhere
#   objects of one class            iou    giou    diou    ciou    iou, iou_threshold=0.5
#   1                               1.00   1.00    1.00    1.00    1.00
#   2                               0.50   0.33    0.30    0.30    1.00
#   4                               0.25   -0.11   -0.14   -0.14   1.00
#   10                              0.10   -0.50   -0.52   -0.52   1.00
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 \
  torchmetrics==1.9.0 pycocotools==2.0.11
"$folder/venv/bin/python" - 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import sys
import warnings

import torch
from torchmetrics import detection

warnings.simplefilter("ignore")


def measure(name, number, **options):
    left = 20.0 * torch.arange(number)
    boxes = torch.stack([left, torch.zeros(number), left + 10, torch.full((number,), 10.0)], 1)
    labels = torch.zeros(number, dtype=torch.int64)
    metric = getattr(detection, name)(**options)
    metric.update(
        [{"boxes": boxes, "labels": labels, "scores": torch.ones(number)}], [{"boxes": boxes, "labels": labels}]
    )
    return round(float(next(iter(metric.compute().values()))), 2)


names = [
    "IntersectionOverUnion",
    "GeneralizedIntersectionOverUnion",
    "DistanceIntersectionOverUnion",
    "CompleteIntersectionOverUnion",
]
seen = {}
for number in (1, 2, 4, 10):
    limited = measure("IntersectionOverUnion", number, iou_threshold=0.5)
    seen[number] = [*(measure(name, number) for name in names), limited]
    print(number, *seen[number])
iou_as_stated = all(row[0] == round(1 / number, 2) and row[4] == 1 for number, row in seen.items())
others_as_stated = seen[1][1:4] == [1, 1, 1] and all(value < 0 for n in (4, 10) for value in seen[n][1:4])
sys.exit(not (iou_as_stated and others_as_stated))
PY
