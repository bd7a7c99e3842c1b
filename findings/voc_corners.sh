#!/usr/bin/env bash
# Pascal VOC counts pixels from 1 and includes the last one: the left half of a 200 px wide image has xmin 1,
# xmax 100. supervision writes and reads that; datumaro, globox and pylabel write the corners of COCO's box
# (0, 100) and take VOC's own numbers for such corners. Nothing in a file says which is meant. From one tool
# to the other, left and top move by a pixel: IoU .81 for an object of 10 px, and x = -1 at the edge.
#
# Seen with supervision 0.31.2, datumaro 1.13.12, globox 2.9.0, pylabel 0.1.55, numpy 2.4.6, Python 3.11:
#   xmin ymin xmax ymax written of the box x 0..100, y 40..90; expected 1 41 100 90
#   supervision 1 41 100 90, datumaro 0 40 100 90, globox 0 40 100 90, pylabel 0 40 100 90
#   the left edge that supervision reads of datumaro's file: -1.0, that globox reads of supervision's: 1.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check supervision==0.31.2 datumaro==1.13.12 globox==2.9.0 pylabel==0.1.55 pandas==2.3.3 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import contextlib
import io
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import supervision
from datumaro.components.dataset import Dataset
from globox import AnnotationSet
from PIL import Image
from pylabel import importer

folder = Path(sys.argv[1])
source = folder / "source"
(source / "images" / "train").mkdir(parents=True)
(source / "annotations").mkdir()
Image.fromarray(np.zeros((120, 200, 3), np.uint8)).save(source / "images" / "train" / "a.png")
truth = {
    "info": {},
    "licenses": [],
    "images": [{"id": 1, "file_name": "a.png", "width": 200, "height": 120}],
    "categories": [{"id": 1, "name": "thing", "supercategory": ""}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 40, 100, 50], "area": 5000,
         "iscrowd": 0, "segmentation": []}
    ],
}
json_path = source / "annotations" / "instances_train.json"
json_path.write_text(json.dumps(truth))
images = str(source / "images" / "train")
for name in ("supervision", "globox", "pylabel"):
    (folder / name).mkdir()

with contextlib.redirect_stdout(io.StringIO()):
    data = supervision.DetectionDataset.from_coco(images, str(json_path))
    data.as_pascal_voc(annotations_directory_path=str(folder / "supervision"))
    Dataset.import_from(str(source), "coco").export(str(folder / "kit"), "voc_detection")
    shutil.copytree(folder / "kit" / "Annotations", folder / "datumaro")
    AnnotationSet.from_coco(json_path).save_pascal_voc(folder / "globox")
    dataset = importer.ImportCoco(str(json_path), path_to_images=images)
    dataset.export.ExportToVoc(str(folder / "pylabel"))


def written(name):
    text = (folder / name / "a.xml").read_text()
    sides = {side: float(value) for side, value in re.findall(r"<([xy]m\w+)>([\d.]+)<", text)}
    return [int(sides[side]) for side in ("xmin", "ymin", "xmax", "ymax")]


result = {name: written(name) for name in ("supervision", "datumaro", "globox", "pylabel")}
for name, corners in result.items():
    print(f"{name} writes", *corners)
data = supervision.DetectionDataset.from_pascal_voc(images, str(folder / "datumaro"))
left = float(next(iter(data.annotations.values())).xyxy[0, 0])
other = next(iter(AnnotationSet.from_pascal_voc(folder / "supervision"))).boxes[0].xmin
print(f"left edge: supervision reads {left} in datumaro's file, globox {other} in supervision's")
expected = [[1, 41, 100, 90], *[[0, 40, 100, 90]] * 3]
if list(result.values()) != expected or (left, other) != (-1, 1):
    sys.exit("a tool no longer behaves as described")
PY
