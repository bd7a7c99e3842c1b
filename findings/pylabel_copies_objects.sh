#!/usr/bin/env bash
# pylabel's ExportToCoco writes a copy of the object before it for every image without objects. The copies
# lie in the image that has the object already: with one background image in two, half of the objects
# double; after NMS nothing finds both, so recall and AP of every detector drop, and training counts them twice.
#
# Seen with pylabel 0.1.55, pandas 2.3.3, numpy 2.4.6, Python 3.11:
#   one object in the first of three images; expected 1 annotation
#   written: 3 annotations, all of image 1 with the same box
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check \
  pylabel==0.1.55 pandas==2.3.3 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import contextlib
import io
import json
import sys
from pathlib import Path

from pylabel import importer

folder = Path(sys.argv[1])
truth = {
    "images": [
        {"id": i, "file_name": f"{i}.jpg", "width": 200, "height": 100} for i in (1, 2, 3)
    ],
    "categories": [{"id": 1, "name": "thing", "supercategory": ""}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 50, 50], "area": 2500,
         "iscrowd": 0, "segmentation": [[10, 10, 60, 10, 60, 60, 10, 60]]}
    ],
}
(folder / "in.json").write_text(json.dumps(truth))
with contextlib.redirect_stdout(io.StringIO()):
    dataset = importer.ImportCoco(str(folder / "in.json"), path_to_images=str(folder))
    dataset.export.ExportToCoco(str(folder / "out.json"))
written = json.loads((folder / "out.json").read_text())["annotations"]
objects = [(annotation["image_id"], annotation["bbox"]) for annotation in written]
print("written objects (image, box):", objects)
if len(objects) != 3 or len({str(each) for each in objects}) != 1:
    sys.exit("pylabel no longer behaves as described")
PY
