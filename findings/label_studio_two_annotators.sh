#!/usr/bin/env bash
# Where two people annotated an image in Label Studio, the COCO export lists the image twice under two ids,
# each with one person's objects; YOLO and VOC keep one person's file, the last one's. An evaluation counts
# the image twice, and everything only one of them marked is a false positive or missing in the other.
#
# Seen with label-studio-sdk 2.1.2, Python 3.11:
#   one image, the first person marked a, the second marked b; expected one image with what was agreed on
#   COCO: 2 images of 1 file, classes [['a'], ['b']]; YOLO: ['b']; VOC: ['b']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --no-deps --disable-pip-version-check label-studio-sdk==2.1.2 \
  PyJWT==2.13.0 appdirs==1.4.4 certifi==2026.10.19.post1 charset-normalizer==3.5.3 defusedxml==0.7.1 \
  idna==3.20 ijson==3.6.0 lxml==6.1.3 nltk==3.10.4 numpy==2.2.6 pillow==13.0.0 regex==2026.11.19 \
  requests==2.34.2 ujson==6.1.0 urllib3==2.8.0
"$folder/venv/bin/python" - "$folder" 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import contextlib
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
from label_studio_sdk.converter import Converter
from PIL import Image

folder = Path(sys.argv[1])
(folder / "images").mkdir()
Image.fromarray(np.zeros((200, 200, 3), np.uint8)).save(folder / "images" / "image.png")
config = """<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">
<Label value="a"/><Label value="b"/></RectangleLabels></View>"""


def annotated(person, label, x):
    value = {"x": x, "y": 10, "width": 20, "height": 20, "rotation": 0, "rectanglelabels": [label]}
    region = {
        "id": label, "type": "rectanglelabels", "from_name": "label", "to_name": "image",
        "original_width": 200, "original_height": 200, "image_rotation": 0, "value": value,
    }
    return {"id": person, "completed_by": person, "result": [region], "was_cancelled": False}


task = {
    "id": 1,
    "data": {"image": str(folder / "images" / "image.png")},
    "annotations": [annotated(1, "a", 10), annotated(2, "b", 60)],
}
tasks = folder / "tasks.json"
tasks.write_text(json.dumps([task]))
with contextlib.redirect_stdout(io.StringIO()):
    converter = Converter(config, str(folder), download_resources=False)
    converter.convert_to_coco(str(tasks), str(folder / "coco"), is_dir=False)
    converter.convert_to_yolo(str(tasks), str(folder / "yolo"), is_dir=False)
    converter.convert_to_voc(str(tasks), str(folder / "voc"), is_dir=False)

document = json.loads((folder / "coco" / "result.json").read_text())
names = {category["id"]: category["name"] for category in document["categories"]}
files = {image["file_name"] for image in document["images"]}
coco = [
    [names[each["category_id"]] for each in document["annotations"] if each["image_id"] == image["id"]]
    for image in document["images"]
]
listed = (folder / "yolo" / "classes.txt").read_text().split()
lines = next((folder / "yolo").rglob("image.txt")).read_text().splitlines()
yolo = [listed[int(line.split()[0])] for line in lines]
voc = re.findall(r"<object>\s*<name>(\w+)<", next((folder / "voc").rglob("image.xml")).read_text())
print(f"COCO: {len(coco)} images of {len(files)} file, classes {coco}; YOLO: {yolo}; VOC: {voc}")
if coco != [["a"], ["b"]] or len(files) != 1 or yolo != ["b"] or voc != ["b"]:
    sys.exit("label-studio-sdk no longer behaves as described")
PY
