#!/usr/bin/env bash
# Converting COCO to YOLO, sahi and pylabel write the category id of the json as the class number, and
# list the names from 0 beside it. COCO's ids usually start at 1: every class gets its neighbour's name,
# the last one none. Where another class follows, nothing fails: the model learns the wrong names.
#
# Seen with sahi 0.12.8, pylabel 0.1.55, pandas 2.3.3, numpy 2.4.6, Python 3.11:
#   an object of "cat" in a json with 1 cat, 2 dog, 3 owl; expected the class number of cat in names
#   sahi:    class 1, names[1] = dog
#   pylabel: class 1, names[1] = dog
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check sahi==0.12.8 pylabel==0.1.55 pandas==2.3.3 numpy==2.4.6 pyyaml==6.0.4 opencv-python-headless==4.14.0.94
"$folder/venv/bin/python" - "$folder" 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import json
import sys
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from pylabel import importer
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

dataset = importer.ImportCoco(str(json_path), path_to_images=str(folder / "images"))
dataset.export.ExportToYoloV5(str(folder / "pylabel"), yaml_file="data.yaml")
listed = yaml.safe_load((folder / "data.yaml").read_text())["names"]
pylabel = first_class((folder / "pylabel" / "a.txt").read_text(), listed)

for tool, (number, name) in {"sahi": sahi, "pylabel": pylabel}.items():
    print(f"{tool}: the cat became class {number}, names[{number}] = {name}")
if sahi != (1, "dog") or pylabel != (1, "dog"):
    sys.exit("a converter no longer behaves as described")
PY
