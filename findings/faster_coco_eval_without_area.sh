#!/usr/bin/env bash
# faster-coco-eval takes an annotation without "area" for one of area 0: every object of the set is
# "small", AP medium and AP large do not exist, and nothing is said. hotcoco measures the box instead;
# pycocotools, which both replace, ends with a KeyError. A set of large objects seems to be one of small.
#
# Seen with faster-coco-eval 1.8.0, hotcoco 1.3.0, numpy 2.4.6, Python 3.11:
#   one object of 200 x 200 pixels, found; expected: large, or an error
#   faster-coco-eval: small 1.0, medium -1.0, large -1.0
#   hotcoco:          small -1.0, medium -1.0, large 1.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --no-deps --disable-pip-version-check faster-coco-eval==1.8.0 \
  hotcoco==1.3.0 numpy==2.4.6 pycocotools==2.0.11 opencv-python-headless==5.0.0.93
"$folder/venv/bin/python" - "$folder" 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import contextlib
import io
import json
import sys
from pathlib import Path

import faster_coco_eval
import hotcoco

folder = Path(sys.argv[1])
box = [10, 10, 200, 200]
truth = {
    "info": {},
    "images": [{"id": 1, "width": 300, "height": 300}],
    "categories": [{"id": 1, "name": "thing"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": box, "iscrowd": 0}],
}
(folder / "truth.json").write_text(json.dumps(truth))
(folder / "found.json").write_text(
    json.dumps([{"image_id": 1, "category_id": 1, "bbox": box, "score": 0.9}])
)


def by_size(data, evaluation):
    with contextlib.redirect_stdout(io.StringIO()):
        reference = data(str(folder / "truth.json"))
        run = evaluation(reference, reference.loadRes(str(folder / "found.json")), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return [round(float(ap), 3) for ap in run.stats[3:6]]


faster = by_size(faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster)
hot = by_size(hotcoco.COCO, hotcoco.COCOeval)
print("AP small, medium, large: faster-coco-eval", faster, "hotcoco", hot)
if faster != [1, -1, -1] or hot != [-1, -1, 1]:
    sys.exit("an evaluator no longer behaves as described")
PY
