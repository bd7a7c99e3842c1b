#!/usr/bin/env bash
# globox.COCOEvaluator promises COCO's metrics, but neither crowds nor the areas of the json reach it:
# detections inside a crowd are false positives, and sizes go by the box where COCO goes by the mask.
# AP and its sizes differ from pycocotools' on the same json, by as much as methods do.
#
# Seen with globox 2.9.0, pycocotools 2.0.11, numpy 2.4.6, Python 3.11:
#   a found object (mask of 900 in a box of 60 x 60), and two detections inside of a crowd
#   expected AP 1.0, small 1.0, medium -1.0 (pycocotools)
#   globox   AP 0.17, small nan, medium 0.33
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --no-deps --disable-pip-version-check globox==2.9.0 \
  pycocotools==2.0.11 numpy==2.4.6 tqdm==4.70.1
"$folder/venv/bin/python" - "$folder" 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import contextlib
import io
import json
import sys
from pathlib import Path

from globox import AnnotationSet, COCOEvaluator
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

folder = Path(sys.argv[1])
thing = {"image_id": 1, "category_id": 1}
truth = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 500, "height": 500}],
    "categories": [{"id": 1, "name": "person", "supercategory": ""}],
    "annotations": [
        {**thing, "id": 1, "bbox": [10, 10, 60, 60], "area": 900, "iscrowd": 0},
        {**thing, "id": 2, "bbox": [200, 200, 200, 200], "area": 40000, "iscrowd": 1},
    ],
}
found = [
    {**thing, "bbox": [220, 220, 50, 90], "score": 0.9},
    {**thing, "bbox": [300, 230, 50, 90], "score": 0.8},
    {**thing, "bbox": [10, 10, 60, 60], "score": 0.7},
]
(folder / "truth.json").write_text(json.dumps(truth))
(folder / "found.json").write_text(json.dumps(found))
with contextlib.redirect_stdout(io.StringIO()):
    reference = COCO(str(folder / "truth.json"))
    run = COCOeval(reference, reference.loadRes(str(folder / "found.json")), "bbox")
    run.evaluate()
    run.accumulate()
    run.summarize()
official = [round(float(run.stats[i]), 2) for i in (0, 3, 4)]
annotations = AnnotationSet.from_coco(folder / "truth.json")
other = COCOEvaluator(
    ground_truths=annotations, predictions=annotations.from_results(folder / "found.json")
)
ours = [round(float(ap), 2) for ap in (other.ap(), other.ap_small(), other.ap_medium())]
print("AP, small, medium: pycocotools", official, "globox", ours)
if official != [1, 1, -1] or str(ours) != "[0.17, nan, 0.33]":
    sys.exit("globox no longer behaves as described")
PY
