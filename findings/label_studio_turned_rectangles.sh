#!/usr/bin/env bash
# A rectangle that was turned in Label Studio is exported as three different objects: COCO gets the upright
# box around it, YOLO and VOC get the rectangle as it was before it was turned. It is turned around its upper
# left corner, so that the unturned box lies beside the object. Nothing is said.
#
# Seen with label-studio-sdk 2.1.2, Python 3.11:
#   image of 400 x 400, rectangle of 100 x 40 at (200, 100) turned by 90 degrees
#   expected x 160..200, y 100..200
#   COCO 160 100 200 200, YOLO 200 100 300 140, VOC 200 100 300 140
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

SIZE = 400
folder = Path(sys.argv[1])
(folder / "images").mkdir()
Image.fromarray(np.zeros((SIZE, SIZE, 3), np.uint8)).save(folder / "images" / "a.png")
config = """<View><Image name="image" value="$image"/>
<RectangleLabels name="label" toName="image"><Label value="thing"/></RectangleLabels></View>"""
value = {"x": 50, "y": 25, "width": 25, "height": 10, "rotation": 90, "rectanglelabels": ["thing"]}
region = {
    "id": "r1", "type": "rectanglelabels", "from_name": "label", "to_name": "image",
    "original_width": SIZE, "original_height": SIZE, "image_rotation": 0, "value": value,
}
task = {
    "id": 1,
    "data": {"image": str(folder / "images" / "a.png")},
    "annotations": [{"id": 1, "completed_by": 1, "result": [region]}],
}
tasks = folder / "tasks.json"
tasks.write_text(json.dumps([task]))
with contextlib.redirect_stdout(io.StringIO()):
    converter = Converter(config, str(folder), download_resources=False)
    converter.convert_to_coco(str(tasks), str(folder / "coco"), is_dir=False)
    converter.convert_to_yolo(str(tasks), str(folder / "yolo"), is_dir=False)
    converter.convert_to_voc(str(tasks), str(folder / "voc"), is_dir=False)

annotation = json.loads((folder / "coco" / "result.json").read_text())["annotations"][0]
x, y, width, height = annotation["bbox"]
coco = [round(v) for v in (x, y, x + width, y + height)]
text = next((folder / "yolo").rglob("a.txt")).read_text()
x, y, width, height = (SIZE * float(number) for number in text.split()[1:])
yolo = [round(v) for v in (x - width / 2, y - height / 2, x + width / 2, y + height / 2)]
text = next((folder / "voc").rglob("a.xml")).read_text()
voc = [int(float(number)) for number in re.findall(r"<[xy]m\w+>([\d.]+)<", text)]
print("COCO", coco, "YOLO", yolo, "VOC", voc)
if coco != [160, 100, 200, 200] or yolo != [200, 100, 300, 140] or voc != yolo:
    sys.exit("label-studio-sdk no longer behaves as described")
PY
