#!/usr/bin/env bash
# An annotation with "ignore": 1 (the field is in the jsons of Label Studio and globox, and pycocotools'
# code reads it) is an ordinary object for COCO's evaluators: pycocotools writes iscrowd over it first.
# Objects that were to be left out, like VOC's difficult ones, are counted as missed; AP drops.
#
# Seen with pycocotools 2.0.11, faster-coco-eval 1.8.0, hotcoco 1.3.0, numpy 2.4.6, Python 3.11:
#   one object found, one with "ignore": 1 not found; expected AP 1.000 if the flag meant anything
#   ignore: 1     pycocotools 0.505, faster-coco-eval 0.505, hotcoco 0.505
#   iscrowd: 1    pycocotools 1.000, faster-coco-eval 1.000, hotcoco 1.000
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
folder = Path(sys.argv[1])


def scores(**flags):
    thing = {"category_id": 1, "bbox": [10, 10, 50, 50], "area": 2500}
    truth = {
        "info": {},
        "images": [{"id": i, "width": 100, "height": 100} for i in (1, 2)],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {**thing, "id": 1, "image_id": 1, "iscrowd": 0, "ignore": 0},
            {**thing, "id": 2, "image_id": 2, "iscrowd": 0, "ignore": 0, **flags},
        ],
    }
    found = [{"image_id": 1, "category_id": 1, "bbox": [10, 10, 50, 50], "score": 0.9}]
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
    print(flags, ", ".join(f"{name} {ap:.3f}" for name, ap in result.items()))
    return set(result.values())


if scores(ignore=1) != {0.505} or scores(iscrowd=1) != {1.0}:
    sys.exit("an evaluator no longer behaves as described")
PY
