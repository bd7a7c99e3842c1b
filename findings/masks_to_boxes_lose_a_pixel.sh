#!/usr/bin/env bash
# masks_to_boxes of torchvision gives the first and the last pixel of each mask: boxes are a pixel narrower and lower than
# those of COCO, than box_area and box_iou of the same library take them, and than annotated boxes beside them. An object
# of one pixel has no area, and SanitizeBoundingBoxes removes it. For small objects the difference alone costs hits at
# high IoU.
#
# Seen with torchvision 0.29.1, torch 2.14.1, pycocotools 2.0.11, numpy 2.4.6, Python 3.11; a mask of columns 20..20+n-1,
# as many rows; expected the same box
#   n    torchvision         pycocotools         IoU
#   1    [20, 20, 20, 20]    [20, 20, 21, 21]    0.00
#   4    [20, 20, 23, 23]    [20, 20, 24, 24]    0.56
#   10   [20, 20, 29, 29]    [20, 20, 30, 30]    0.81
#   50   [20, 20, 69, 69]    [20, 20, 70, 70]    0.96
#   boxes left by SanitizeBoundingBoxes    3
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 \
  pycocotools==2.0.11 numpy==2.4.6
"$folder/venv/bin/python" - 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import sys

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torchvision.ops import box_iou, masks_to_boxes
from torchvision.transforms.v2 import SanitizeBoundingBoxes
from torchvision.tv_tensors import BoundingBoxes

wrong, found = False, []
for side in (1, 4, 10, 50):
    mask = np.zeros((100, 100), np.uint8)
    mask[20 : 20 + side, 20 : 20 + side] = 1
    box = masks_to_boxes(torch.tensor(mask)[None])
    left, top, width, height = coco_mask.toBbox(coco_mask.encode(np.asfortranarray(mask)))
    coco = torch.tensor([[left, top, left + width, top + height]])
    iou = float(box_iou(box.double(), coco.double()))
    print(side, box[0].tolist(), coco[0].tolist(), f"IoU {iou:.2f}")
    found.append(box)
    last = 20 + side
    wrong = wrong or box[0].tolist() != [20, 20, last - 1, last - 1] or coco[0].tolist() != [20, 20, last, last]
boxes = BoundingBoxes(torch.cat(found), format="XYXY", canvas_size=(100, 100))
left = len(SanitizeBoundingBoxes(labels_getter=None)({"boxes": boxes})["boxes"])
print("boxes left by SanitizeBoundingBoxes", left)
sys.exit(wrong or left != 3)
PY
