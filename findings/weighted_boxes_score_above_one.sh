#!/usr/bin/env bash
# The scores of weighted_boxes_fusion are promised not to exceed 1 unless allows_overflow is set. With weights they do: the
# mean of a cluster is divided by its number of boxes, not by their weights, so that two boxes of the heavier model on
# one object, which no other model has found, score above 1, and above an object that both models are sure of. Without
# weights this cannot be seen; with them a threshold, a ranking or a calibration of the fused detections is off.
#
# Seen with ensemble-boxes 1.0.9, numpy 2.4.6, Python 3.11; two models, boxes of one object; expected at most 1, and less
# where one model found nothing
#   weights   both models (.95 and .90)   the first model alone, twice (.95 and .90), the second nothing
#   1, 1      0.925                       0.925
#   2, 1      0.933                       1.233
#   3, 1      0.938                       1.388
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check ensemble-boxes==1.0.9 numpy==2.4.6
"$folder/venv/bin/python" - 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import sys

from ensemble_boxes import weighted_boxes_fusion

first, second = [0.1, 0.1, 0.3, 0.3], [0.1, 0.1, 0.3, 0.31]
seen = {}
for weights in ([1, 1], [2, 1], [3, 1]):
    both = weighted_boxes_fusion([[first], [second]], [[0.95], [0.9]], [[0], [0]], weights=weights)[1]
    one = weighted_boxes_fusion([[first, second], []], [[0.95, 0.9], []], [[0, 0], []], weights=weights)[1]
    assert len(both) == len(one) == 1
    seen[tuple(weights)] = round(float(both[0]), 3), round(float(one[0]), 3)
    print(weights, "both models", seen[tuple(weights)][0], "one model twice", seen[tuple(weights)][1])
expected = {(1, 1): (0.925, 0.925), (2, 1): (0.933, 1.233), (3, 1): (0.938, 1.388)}
sys.exit(any(abs(a - b) > 0.002 for key in seen for a, b in zip(seen[key], expected[key])))
PY
