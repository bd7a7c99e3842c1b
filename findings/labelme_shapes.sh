#!/usr/bin/env bash
# How many objects a file of labelme holds depends on who reads it: globox takes rectangles only, supervision
# joins the shapes of a group and leaves circles and points out, labelme2coco makes a box of 1 x 1 of every
# point and an object of every shape. Objects are lost or invented, and no tool says so.
#
# Seen with supervision 0.31.2, globox 2.9.0, labelme2coco 0.2.6, numpy 2.4.6, Python 3.11:
#   a rectangle, a polygon, a circle, two polygons of one group, a point; expected 4 objects
#   globox 1, supervision 3, labelme2coco 6
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --no-deps --disable-pip-version-check supervision==0.31.2 \
  numpy==2.4.6 opencv-python-headless==5.0.0.93 pillow==12.3.0 scipy==1.17.1 defusedxml==0.7.1 pyyaml==6.0.4 \
  requests==2.34.2 urllib3==2.8.0 certifi==2026.10.19.post1 charset-normalizer==3.5.3 idna==3.20 \
  tqdm==4.70.1 pyDeprecate==0.13.0 globox==2.9.0 lxml==6.1.3 labelme2coco==0.2.6 sahi==0.12.8 shapely==2.2.0
"$folder/venv/bin/python" - "$folder" 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import contextlib
import io
import json
import sys
from pathlib import Path

import labelme2coco
import numpy as np
import supervision
from globox import AnnotationSet
from PIL import Image

folder = Path(sys.argv[1])
source = folder / "labelme"
source.mkdir()
Image.fromarray(np.zeros((200, 300, 3), np.uint8)).save(source / "a.png")


def shape(kind, points, group=None):
    return {"label": "thing", "points": points, "group_id": group, "shape_type": kind, "flags": {}}


shapes = [
    shape("rectangle", [[10, 20], [110, 90]]),
    shape("polygon", [[150, 20], [180, 90], [130, 60]]),
    shape("circle", [[240, 60], [240, 90]]),
    shape("polygon", [[10, 120], [40, 120], [40, 160]], 1),
    shape("polygon", [[60, 120], [90, 120], [90, 160]], 1),
    shape("point", [[200, 150]]),
]
document = {
    "version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": "a.png", "imageData": None,
    "imageHeight": 200, "imageWidth": 300,
}
(source / "a.json").write_text(json.dumps(document))
globox = len(next(iter(AnnotationSet.from_labelme(source))).boxes)
data = supervision.DetectionDataset.from_labelme(str(source), str(source))
together = sum(len(found) for found in data.annotations.values())
with contextlib.redirect_stdout(io.StringIO()):
    labelme2coco.convert(str(source), str(folder / "coco"))
annotations = json.loads((folder / "coco" / "dataset.json").read_text())["annotations"]
print(f"objects: globox {globox}, supervision {together}, labelme2coco {len(annotations)}")
if (globox, together, len(annotations)) != (1, 3, 6) or [200, 150, 1, 1] not in [
    annotation["bbox"] for annotation in annotations
]:
    sys.exit("a reader no longer behaves as described")
PY
