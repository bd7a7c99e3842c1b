#!/usr/bin/env bash
# CVAT's XML keeps a turned rectangle as its upright corners and an attribute `rotation` (degrees, around its
# centre). globox reads the corners and not the rotation: the box of an object that was turned by 90 degrees
# covers 40 % of it. datumaro reads it, and then leaves it out of COCO, VOC and YOLO without a word.
#
# Seen with globox 2.9.0, datumaro 1.13.12, numpy 2.4.6, Python 3.11:
#   a rectangle of 100 x 40 around (150, 100), turned by 90 degrees, and one that is not turned
#   expected 2 objects, the turned one x 130..170, y 50..150
#   globox: x 100..200, y 80..120; datumaro to COCO: 1 object, VOC: 1, YOLO: 1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --no-deps --disable-pip-version-check globox==2.9.0 \
  numpy==2.4.6 opencv-python-headless==5.0.0.93 pillow==12.3.0 defusedxml==0.7.1 pyyaml==6.0.4 tqdm==4.70.1 \
  datumaro==1.13.12 attrs==26.1.0 imagesize==2.0.1 json-stream==2.5.1 json-stream-rs-tokenizer==0.5.4 \
  lxml==6.1.3 orjson==3.13.0 pandas==2.3.3 python-dateutil==2.9.0.post0 pytz==2026.6 tzdata==2026.6 \
  six==1.17.0 pycocotools==2.0.11 shapely==2.2.0 typing_extensions==4.16.0
"$folder/venv/bin/python" - "$folder" 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import json
import sys
from pathlib import Path

import numpy as np
from datumaro.components.dataset import Dataset
from globox import AnnotationSet
from PIL import Image

folder = Path(sys.argv[1])
source = folder / "cvat"
(source / "images").mkdir(parents=True)
Image.fromarray(np.zeros((200, 300, 3), np.uint8)).save(source / "images" / "a.png")
(source / "annotations.xml").write_text("""<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><labels><label><name>thing</name><attributes></attributes></label></labels></task></meta>
  <image id="0" name="a.png" width="300" height="200">
    <box label="thing" source="manual" occluded="0" xtl="100.00" ytl="80.00" xbr="200.00" ybr="120.00"
      rotation="90.00" z_order="0"></box>
    <box label="thing" source="manual" occluded="0" xtl="10.00" ytl="10.00" xbr="60.00" ybr="40.00"
      z_order="0"></box>
  </image>
</annotations>
""")
turned = next(iter(AnnotationSet.from_cvat(source / "annotations.xml"))).boxes[0].ltrb
data = Dataset.import_from(str(source), "cvat")
for form in ("coco_instances", "voc_detection", "yolo"):
    data.export(str(folder / form), form)
path = next((folder / "coco_instances" / "annotations").glob("*.json"))
counts = {
    "COCO": len(json.loads(path.read_text())["annotations"]),
    "VOC": next((folder / "voc_detection").rglob("a.xml")).read_text().count("<object>"),
    "YOLO": len(next((folder / "yolo").rglob("a.txt")).read_text().splitlines()),
}
print("globox reads", turned, "datumaro writes objects:", counts)
if tuple(turned) != (100, 80, 200, 120) or set(counts.values()) != {1}:
    sys.exit("a tool no longer behaves as described")
PY
