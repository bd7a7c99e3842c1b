#!/usr/bin/env bash
# pycocotools keeps the id of the matched object as the mark of a match, and 0 as the mark of none. An
# object with "id": 0 is therefore never found: its detection counts as a false positive, it as missed.
# Label Studio's converter, globox and pylabel number annotations from 0; faster-coco-eval computes the
# same (and warns), hotcoco computes it right. On small sets, or per class, this costs points of AP.
#
# Seen with pycocotools 2.0.11, faster-coco-eval 1.8.0, hotcoco 1.3.0, numpy 2.4.6, Python 3.11:
#   AP of four perfect detections of four objects; expected 1.000 whatever their ids are
#   ids from 1: pycocotools 1.000, faster-coco-eval 1.000, hotcoco 1.000
#   ids from 0: pycocotools 0.564, faster-coco-eval 0.564, hotcoco 1.000
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --no-deps --disable-pip-version-check pycocotools==2.0.11 \
  faster-coco-eval==1.8.0 hotcoco==1.3.0 numpy==2.4.6 opencv-python-headless==5.0.0.93
"$folder/venv/bin/python" - "$folder" 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import contextlib
import io
import json
import sys
from pathlib import Path

import faster_coco_eval
import hotcoco
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

EVALUATORS = {
    "pycocotools": (COCO, COCOeval),
    "faster-coco-eval": (faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster),
    "hotcoco": (hotcoco.COCO, hotcoco.COCOeval),
}
folder, box = Path(sys.argv[1]), [10, 10, 50, 50]


def scores(first):
    truth = {
        "info": {},
        "images": [{"id": i, "width": 100, "height": 100} for i in range(1, 5)],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {"id": first + i, "image_id": i + 1, "category_id": 1, "bbox": box, "area": 2500, "iscrowd": 0}
            for i in range(4)
        ],
    }
    found = [{"image_id": i, "category_id": 1, "bbox": box, "score": 0.9} for i in range(1, 5)]
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "found.json").write_text(json.dumps(found))
    result = {}
    for name, (data, evaluation) in EVALUATORS.items():
        with contextlib.redirect_stdout(io.StringIO()):
            reference = data(str(folder / "truth.json"))
            run = evaluation(reference, reference.loadRes(str(folder / "found.json")), "bbox")
            run.evaluate()
            run.accumulate()
            run.summarize()
        result[name] = round(float(run.stats[0]), 3)
    print(f"ids from {first}:", ", ".join(f"{name} {ap:.3f}" for name, ap in result.items()))
    return list(result.values())


if scores(1) != [1, 1, 1] or scores(0) != [0.564, 0.564, 1]:
    sys.exit("an evaluator no longer behaves as described")
PY
