#!/usr/bin/env bash
# sahi's Coco and slice_coco, and globox's COCO to COCO, write every crowd of the json with "iscrowd": 0.
# One box around fifty people becomes one person: trained on, and missed by every detector afterwards.
# supervision and datumaro keep the flag. Slicing a validation set with sahi so changes its AP silently.
#
# Seen with sahi 0.12.8, globox 2.9.0, supervision 0.31.2, numpy 2.4.6, Python 3.11:
#   iscrowd of an object and a crowd; expected [0, 1]
#   sahi Coco.json [0, 0], sahi slice_coco [0, 0], globox [0, 0], supervision [0, 1]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --no-deps --disable-pip-version-check supervision==0.31.2 \
  numpy==2.4.6 opencv-python-headless==5.0.0.93 pillow==12.3.0 scipy==1.17.1 defusedxml==0.7.1 pyyaml==6.0.4 \
  requests==2.34.2 urllib3==2.8.0 certifi==2026.10.19.post1 charset-normalizer==3.5.3 idna==3.20 \
  tqdm==4.70.1 pyDeprecate==0.13.0 globox==2.9.0 lxml==6.1.3 sahi==0.12.8 shapely==2.2.0
"$folder/venv/bin/python" - "$folder" 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import json
import sys
from pathlib import Path

import numpy as np
import supervision
from globox import AnnotationSet
from PIL import Image
from sahi.slicing import slice_coco
from sahi.utils.coco import Coco

WIDTH, HEIGHT = 200, 100
folder = Path(sys.argv[1])
(folder / "images").mkdir()
Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(folder / "images" / "a.jpg")
mask = np.zeros((HEIGHT, WIDTH), np.uint8)
mask[20:80, 100:180] = 1
changes = np.flatnonzero(np.diff(mask.T.ravel())) + 1
counts = np.diff([0, *changes.tolist(), mask.size]).tolist()
thing = {"image_id": 1, "category_id": 1}
truth = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT}],
    "categories": [{"id": 1, "name": "person", "supercategory": ""}],
    "annotations": [
        {**thing, "id": 1, "bbox": [10, 10, 50, 50], "area": 2500, "iscrowd": 0,
         "segmentation": [[10, 10, 60, 10, 60, 60, 10, 60]]},
        {**thing, "id": 2, "bbox": [100, 20, 80, 60], "area": 4800, "iscrowd": 1,
         "segmentation": {"size": [HEIGHT, WIDTH], "counts": counts}},
    ],
}
source, images = str(folder / "coco.json"), str(folder / "images")
Path(source).write_text(json.dumps(truth))


def flags(document):
    ordered = sorted(document["annotations"], key=lambda annotation: annotation["bbox"][0])
    return [int(annotation["iscrowd"]) for annotation in ordered]


result = {"sahi Coco.json": flags(Coco.from_coco_dict_or_path(source, image_dir=images).json)}
sliced, _ = slice_coco(source, images, output_coco_annotation_file_name="out",
                       output_dir=str(folder / "sliced"), slice_height=200, slice_width=200)
result["sahi slice_coco"] = flags(sliced)
AnnotationSet.from_coco(source).save_coco(folder / "globox.json", auto_ids=True)
result["globox"] = flags(json.loads((folder / "globox.json").read_text()))
dataset = supervision.DetectionDataset.from_coco(images, source)
dataset.as_coco(annotations_path=str(folder / "supervision.json"))
result["supervision"] = flags(json.loads((folder / "supervision.json").read_text()))
print("iscrowd of an object and a crowd:", result)
if list(result.values()) != [[0, 0], [0, 0], [0, 0], [0, 1]]:
    sys.exit("a converter no longer behaves as described")
PY
