#!/usr/bin/env bash
# torchvision's batched_nms keeps classes apart by shifting each to a place of its own, as many times the largest
# coordinate away as the number of the class. One huge box, as heads give whose sizes are exponentials (YOLOX after a few
# steps), so moves all others where 32 bits no longer tell them apart: the same box comes out twice. Nothing is said, class 0
# is right, and so is every class from 1001 boxes on (on the CPU), where it loops over the classes instead.
#
# Seen with torchvision 0.29.1, torch 2.14.1, Python 3.11; two equal boxes of 50 pixels beside a large one of class 0;
# expected 2 boxes everywhere
#   side of the large box   equal boxes of class 0  class 1  class 10  class 79  class 79, 2000 of them
#   640 and 1000000         2                       2        2         2         2
#   10000000                2                       2        2         3         2
#   100000000               2                       2        3         3         2
#   1000000000              2                       3        3         3         2
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
"$folder/venv/bin/python" - 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import sys

import torch
from torchvision.ops import batched_nms

SEEN = {1e6: [2, 2, 2, 2], 1e7: [2, 2, 2, 3], 1e8: [2, 2, 3, 3], 1e9: [2, 3, 3, 3]}


def left(side, label, equal=2):
    boxes = torch.tensor([[0, 0, side, side]] + [[100.0, 100, 150, 150]] * equal)
    classes = torch.tensor([0] + [label] * equal)
    return len(batched_nms(boxes, torch.linspace(0.9, 0.5, 1 + equal), classes, 0.5))


failed = False
for side, expected in {640.0: [2, 2, 2, 2], **SEEN}.items():
    found = [left(side, label) for label in (0, 1, 10, 79)]
    many = left(side, 79, 2000)
    print(f"side {side:.0f}: {found}, of 2000 boxes {many}")
    failed |= found != expected or many != 2
if failed:
    sys.exit("a library no longer behaves as described")
PY
