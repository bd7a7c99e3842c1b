#!/usr/bin/env bash
# torchvision's transforms v2 keep the type of boxes. Boxes of whole numbers, as label files have them and as torch.tensor makes
# them of lists, stay whole: every change of form and every resize cuts the fraction off, always towards the top left.
# A centre and a width that are turned into corners and back are other numbers, and after a few resizes boxes are smaller than their objects.
# With floats nothing is lost. Nothing warns.
#
# Seen with torchvision 0.29.1, torch 2.14.1, numpy 2.4.6, Python 3.11
#                                                          whole numbers          floats
#   cx cy w h = 100 100 149 149, to corners and back       99 99 149 149          100 100 149 149
#   corners 101 101 149 149, 640x480 to 480x360 and back   100 100 148 148        101 101 149 149
#   corners 10 10 13 13, in 640x480, to 320x240            5 5 6 6 (1 pixel)      5 5 6.5 6.5 (2.25 pixels)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
"$folder/venv/bin/python" - 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import sys

import torch
from torchvision.transforms.v2 import functional as F
from torchvision.tv_tensors import BoundingBoxes


def there_and_back(box, kind):
    boxes = BoundingBoxes(torch.tensor([box], dtype=kind), format="CXCYWH", canvas_size=(480, 640))
    corners = F.convert_bounding_box_format(boxes, new_format="XYXY")
    return F.convert_bounding_box_format(corners, new_format="CXCYWH").flatten().tolist()


def resized(box, kind, *sizes):
    boxes = BoundingBoxes(torch.tensor([box], dtype=kind), format="XYXY", canvas_size=(480, 640))
    for size in sizes:
        boxes = F.resize(boxes, list(size))
    return boxes.flatten().tolist()


found = [
    (
        there_and_back([100, 100, 149, 149], kind),
        resized([101, 101, 149, 149], kind, (360, 480), (480, 640)),
        resized([10, 10, 13, 13], kind, (240, 320)),
    )
    for kind in (torch.int64, torch.float32)
]
for kind, rows in zip(("whole numbers", "floats"), found):
    print(kind, *rows)
whole = ([99, 99, 149, 149], [100, 100, 148, 148], [5, 5, 6, 6])
floats = ([100, 100, 149, 149], [101, 101, 149, 149], [5, 5, 6.5, 6.5])
if found[0] != whole or any(abs(a - b) > 1e-3 for f, e in zip(found[1], floats) for a, b in zip(f, e)):
    sys.exit("It has changed.")
PY
