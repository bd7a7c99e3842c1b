#!/usr/bin/env bash
# Shapes without computation are what the meta device is for, and a convolution or a pooling of meta tensors is cheap.
# The first torch.cat or sum of two of them imports torch._dynamo and sympy: their shape rules are the Python
# references of torch, whose wrappers ask the compiler to leave them alone. FlopCounterMode does so for the first
# operation of any kind, on real tensors too. A program that loads one model and looks at the shapes of its skip
# connections, or prints its GFLOPs, starts a second later than one that runs it.
#
# Seen with torch 2.14.1, Python 3.11
#   meta: convolution, max_pool2d   torch._dynamo no
#   cpu: cat, sum                   torch._dynamo no
#   meta: cat                       torch._dynamo yes (412 modules more, over a second)
#   meta: sum                       torch._dynamo yes
#   cpu: convolution, counted       torch._dynamo yes
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check torch==2.14.1 numpy==2.4.6
cat >"$folder/probe.py" <<'PY'
import sys

import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

device, what = sys.argv[1:]
x = torch.empty(1, 3, 8, 8, device=device)
kernel = torch.empty(4, 3, 3, 3, device=device)
if what == "plain":
    F.max_pool2d(F.conv2d(x, kernel), 2)
elif what == "cat":
    torch.cat((x, x))
elif what == "sum":
    x + x
else:
    with FlopCounterMode(display=False):
        F.conv2d(x, kernel)
print("yes" if "torch._dynamo" in sys.modules else "no")
PY
failed=0
while read -r device what expected; do
    found=$("$folder/venv/bin/python" "$folder/probe.py" "$device" "$what" 2>"$folder/stderr") ||
        { tail -n 20 "$folder/stderr" >&2; exit 1; }
    echo "$device $what: torch._dynamo $found"
    [ "$found" = "$expected" ] || failed=1
done <<'CASES'
meta plain no
cpu cat no
cpu sum no
meta cat yes
meta sum yes
cpu counted yes
CASES
exit "$failed"
