#!/usr/bin/env bash
# albumentations drops boxes of which less than min_visibility is left. It compares with the box before each transform, not with
# the one in the label file: a crop that leaves 30 % of an object removes its box at 0.5, four crops that leave 14 % keep it. Pipelines
# of several croppings (crop, affine, another crop, as mosaics have) so teach slivers as objects at any min_visibility.
#
# Seen with albumentations 2.0.8, albucore 0.0.24, opencv-python-headless 5.0.0.93, numpy 2.4.6, Python 3.11; a box 100 wide,
# min_visibility 0.5
#   one crop that leaves 30 of it:         dropped
#   crops that leave 60, 36, 22 and 14:    kept, 14 wide
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check albumentations==2.0.8 numpy==2.4.6 \
  albucore==0.0.24 opencv-python-headless==5.0.0.93 pydantic==2.14.4 scipy==1.17.1 simsimd==6.5.16 stringzilla==5.3.2
NO_ALBUMENTATIONS_UPDATE=1 "$folder/venv/bin/python" - 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import sys

import albumentations as A
import numpy as np


def left(*widths):
    crops = [A.Crop(x_min=0, y_min=0, x_max=width, y_max=100, p=1.0) for width in widths]
    options = A.BboxParams(format="pascal_voc", label_fields=["labels"], min_visibility=0.5)
    picture = np.zeros((100, 100, 3), np.uint8)
    boxes = A.Compose(crops, bbox_params=options)(image=picture, bboxes=[[0, 0, 100, 20]], labels=[0])["bboxes"]
    return [round(float(box[2] - box[0])) for box in boxes]


found = {"one crop that leaves 30": left(30), "crops that leave 60, 36, 22 and 14": left(60, 36, 22, 14)}
for name, widths in found.items():
    print(f"{name}: {widths}")
if list(found.values()) != [[], [14]]:
    sys.exit("It has changed.")
PY
