#!/usr/bin/env bash
# Pascal VOC counts pixels from 1 and includes the last one: the left half of a 200 px wide image has xmin 1,
# xmax 100. supervision writes and reads that; datumaro and globox write the corners of COCO's box
# (0, 100) and take VOC's own numbers for such corners. Nothing in a file says which is meant. From one tool
# to the other, left and top move by a pixel: IoU .81 for an object of 10 px, and x = -1 at the edge.
#
# Seen with supervision 0.31.2, datumaro 1.13.12, globox 2.9.0, numpy 2.4.6, Python 3.11:
#   xmin ymin xmax ymax written of the box x 0..100, y 40..90; expected 1 41 100 90
#   supervision 1 41 100 90, datumaro 0 40 100 90, globox 0 40 100 90 (so do pylabel, label-studio-sdk)
#   the left edge that supervision reads of datumaro's file: -1.0, that globox reads of supervision's: 1.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --no-deps --disable-pip-version-check supervision==0.31.2 \
  numpy==2.4.6 opencv-python-headless==5.0.0.93 pillow==12.3.0 scipy==1.17.1 defusedxml==0.7.1 pyyaml==6.0.4 \
  requests==2.34.2 urllib3==2.8.0 certifi==2026.10.19.post1 charset-normalizer==3.5.3 idna==3.20 \
  tqdm==4.70.1 pyDeprecate==0.13.0 globox==2.9.0 datumaro==1.13.12 attrs==26.1.0 imagesize==2.0.1 \
  json-stream==2.5.1 json-stream-rs-tokenizer==0.5.4 lxml==6.1.3 orjson==3.13.0 pandas==2.3.3 \
  python-dateutil==2.9.0.post0 pytz==2026.6 tzdata==2026.6 six==1.17.0 pycocotools==2.0.11 shapely==2.2.0 \
  typing_extensions==4.16.0
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
for name in ("supervision", "globox"):
    (folder / name).mkdir()

with contextlib.redirect_stdout(io.StringIO()):
    data = supervision.DetectionDataset.from_coco(images, str(json_path))
    data.as_pascal_voc(annotations_directory_path=str(folder / "supervision"))
    Dataset.import_from(str(source), "coco").export(str(folder / "kit"), "voc_detection")
    shutil.copytree(folder / "kit" / "Annotations", folder / "datumaro")
    AnnotationSet.from_coco(json_path).save_pascal_voc(folder / "globox")


def written(name):
    text = (folder / name / "a.xml").read_text()
    sides = {side: float(value) for side, value in re.findall(r"<([xy]m\w+)>([\d.]+)<", text)}
    return [int(sides[side]) for side in ("xmin", "ymin", "xmax", "ymax")]


result = {name: written(name) for name in ("supervision", "datumaro", "globox")}
for name, corners in result.items():
    print(f"{name} writes", *corners)
data = supervision.DetectionDataset.from_pascal_voc(images, str(folder / "datumaro"))
left = float(next(iter(data.annotations.values())).xyxy[0, 0])
other = next(iter(AnnotationSet.from_pascal_voc(folder / "supervision"))).boxes[0].xmin
print(f"left edge: supervision reads {left} in datumaro's file, globox {other} in supervision's")
expected = [[1, 41, 100, 90], [0, 40, 100, 90], [0, 40, 100, 90]]
if list(result.values()) != expected or (left, other) != (-1, 1):
    sys.exit("a tool no longer behaves as described")
PY
