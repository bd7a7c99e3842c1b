#!/usr/bin/env bash
# label_fields are the way to carry the number of an annotation, or of a track, with its box through albumentations:
# boxes that leave the picture take theirs along. Numbers pass through floats of 32 bits on the way: from 2**24 on
# they come back as other numbers, and neighbours as the same one, even from arrays of 64 bits, which stay integers.
# Lists of integers come back as lists of floats. The crowds of COCO have numbers of 12 digits; classes are
# safe. It happens without any transform, to boxes and keypoints. Text is
# kept. But the first labels that a Compose sees choose the way of all: after a picture with numbers, text that
# looks like a number becomes one, and after text floats lose their fraction.
#
# Seen with albumentations 2.0.8, numpy 2.4.6, Python 3.11; labels that come back of two boxes (and of two keypoints)
# that stay where they are; expected the ones that were given
#   [900100184613, 900100184614]             [900100194304.0, 900100194304.0]
#   array([900100184613, 900100184614])      array([900100194304, 900100194304])
#   [16777217, 16777219]                     [16777216.0, 16777220.0]
#   [1, 2]                                   [1.0, 2.0]
#   ['007', '7']                             ['007', '7']
#   ['007', '7'] after [1, 2]                [7.0, 7.0]
#   [0.25, 0.75] after ['a', 'b']            [0, 0]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --no-deps --disable-pip-version-check albumentations==2.0.8 \
  albucore==0.0.24 numpy==2.4.6 scipy==1.17.1 opencv-python-headless==5.0.0.93 pyyaml==6.0.4 pydantic==2.14.4 \
  pydantic-core==2.50.5 annotated-types==0.8.0 typing-inspection==0.4.5 typing_extensions==4.16.0 \
  simsimd==6.5.16 stringzilla==5.3.2
export NO_ALBUMENTATIONS_UPDATE=1
"$folder/venv/bin/python" - 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import sys
from importlib.metadata import version

import albumentations
import numpy as np

IMAGE = np.zeros((10, 10, 3), np.uint8)
BOXES, POINTS = [[0, 0, 4, 4], [5, 5, 9, 9]], [[1, 1], [6, 6]]
CROWDS, SAME = [900100184613, 900100184614], [900100194304.0, 900100194304.0]


def carried(*pictures):
    """The labels of the last picture, of its boxes and its points, after one Compose has had all of them."""
    compose = albumentations.Compose(
        [albumentations.NoOp()],
        bbox_params=albumentations.BboxParams(format="pascal_voc", label_fields=["of_boxes"]),
        keypoint_params=albumentations.KeypointParams(format="xy", label_fields=["of_points"]),
    )
    for labels in pictures:
        result = compose(image=IMAGE, bboxes=BOXES, keypoints=POINTS, of_boxes=labels, of_points=labels)
    boxes, points = result["of_boxes"], result["of_points"]
    before = f" after {pictures[0]}" if len(pictures) > 1 else ""
    print(f"{pictures[-1]!r}{before}: boxes {boxes!r}, keypoints {points!r}")
    return [*boxes, *points]


print("albumentations", version("albumentations"), "numpy", np.__version__)
same = [
    carried(CROWDS) == 2 * SAME,
    carried(np.array(CROWDS, np.int64)) == 2 * SAME,
    carried([16777217, 16777219]) == 2 * [16777216.0, 16777220.0],
    {type(label) for label in carried([1, 2])} == {float},
    carried(["007", "7"]) == 2 * ["007", "7"],
    carried([1, 2], ["007", "7"]) == 2 * [7.0, 7.0],
    carried(["a", "b"], [0.25, 0.75]) == 2 * [0, 0],
]
if not all(same):
    sys.exit(f"albumentations no longer behaves as described: {same}")
PY
