#!/usr/bin/env bash
# Converting COCO to YOLO, sahi writes the category id of the json as the class number, and lists the names
# from 0 beside it. COCO's ids usually start at 1: every class gets its neighbour's name,
# the last one none. Where another class follows, nothing fails: the model learns the wrong names.
#
# Seen with sahi 0.12.8, numpy 2.4.6, Python 3.11 (pylabel 0.1.55 does the same):
#   an object of "cat" in a json with 1 cat, 2 dog, 3 owl; expected the class number of cat in names
#   class 1, names[1] = dog
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --no-deps --disable-pip-version-check sahi==0.12.8 \
  shapely==2.2.0 numpy==2.4.6 opencv-python-headless==5.0.0.93 pillow==12.3.0 pyyaml==6.0.4 tqdm==4.70.1 \
  requests==2.34.2 urllib3==2.8.0 certifi==2026.10.19.post1 charset-normalizer==3.5.3 idna==3.20
"$folder/venv/bin/python" - "$folder" 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import json
import sys
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from sahi.utils.coco import Coco, export_coco_as_yolo

folder = Path(sys.argv[1])
(folder / "images").mkdir()
Image.fromarray(np.zeros((100, 200, 3), np.uint8)).save(folder / "images" / "a.jpg")
names = ["cat", "dog", "owl"]
objects = [("cat", [10, 10, 50, 50]), ("dog", [80, 20, 40, 40]), ("owl", [140, 20, 40, 40])]
truth = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 200, "height": 100}],
    "categories": [{"id": i + 1, "name": n, "supercategory": ""} for i, n in enumerate(names)],
    "annotations": [
        {
            "id": i + 1,
            "image_id": 1,
            "category_id": names.index(name) + 1,
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": 0,
            "segmentation": [],
        }
        for i, (name, box) in enumerate(objects)
    ],
}
json_path = folder / "coco.json"
json_path.write_text(json.dumps(truth))


def first_class(text, listed):
    number = int(text.split()[0])
    return number, listed[number]


coco = Coco.from_coco_dict_or_path(str(json_path), image_dir=str(folder / "images"))
export_coco_as_yolo(str(folder / "sahi"), coco, coco)
listed = yaml.safe_load((folder / "sahi" / "data.yml").read_text())["names"]
sahi = first_class((folder / "sahi" / "train" / "a.txt").read_text(), listed)

print(f"the cat became class {sahi[0]}, names[{sahi[0]}] = {sahi[1]}")
if sahi != (1, "dog"):
    sys.exit("sahi no longer behaves as described")
PY
