#!/usr/bin/env bash
# An object of several polygons (a car behind a pole) is one annotation with one box in COCO. supervision's
# as_yolo and as_pascal_voc write an object per polygon: the whole box is lost, its parts are labelled as
# objects. A detector trained on it learns halves and is judged on halves; as_coco keeps the object.
#
# Seen with supervision 0.31.2, numpy 2.4.6, Python 3.11:
#   one object, box 10..150, of two polygons; expected one object of 10..150 in every form
#   as_yolo: [(10, 50), (100, 150)], as_pascal_voc: 2 objects, as_coco: [(10, 150)]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --no-deps --disable-pip-version-check supervision==0.31.2 \
  numpy==2.4.6 opencv-python-headless==5.0.0.93 pillow==12.3.0 scipy==1.17.1 defusedxml==0.7.1 pyyaml==6.0.4 \
  requests==2.34.2 urllib3==2.8.0 certifi==2026.10.19.post1 charset-normalizer==3.5.3 idna==3.20 \
  tqdm==4.70.1 pyDeprecate==0.13.0
"$folder/venv/bin/python" - "$folder" 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import json
import sys
from pathlib import Path

import numpy as np
import supervision
from PIL import Image

folder = Path(sys.argv[1])
(folder / "images").mkdir()
Image.fromarray(np.zeros((100, 200, 3), np.uint8)).save(folder / "images" / "a.png")
parts = [[10, 10, 50, 10, 50, 60, 10, 60], [100, 10, 150, 10, 150, 60, 100, 60]]
truth = {
    "info": {},
    "licenses": [],
    "images": [{"id": 1, "file_name": "a.png", "width": 200, "height": 100}],
    "categories": [{"id": 1, "name": "car", "supercategory": ""}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 140, 50], "area": 4500,
         "iscrowd": 0, "segmentation": parts}
    ],
}
(folder / "in.json").write_text(json.dumps(truth))
data = supervision.DetectionDataset.from_coco(str(folder / "images"), str(folder / "in.json"))
data.as_yolo(annotations_directory_path=str(folder / "yolo"))
data.as_pascal_voc(annotations_directory_path=str(folder / "voc"))
data.as_coco(annotations_path=str(folder / "out.json"))

yolo = []
for line in (folder / "yolo" / "a.txt").read_text().splitlines():
    across = [round(200 * float(value)) for value in line.split()[1::2]]
    yolo.append((min(across), max(across)))
voc = (folder / "voc" / "a.xml").read_text().count("<object>")
boxes = [annotation["bbox"] for annotation in json.loads((folder / "out.json").read_text())["annotations"]]
coco = [(round(x), round(x + width)) for x, _, width, _ in boxes]
print("as_yolo", sorted(yolo), "as_pascal_voc", voc, "objects, as_coco", coco)
if sorted(yolo) != [(10, 50), (100, 150)] or voc != 2 or coco != [(10, 150)]:
    sys.exit("supervision no longer behaves as described")
PY
