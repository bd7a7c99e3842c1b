#!/usr/bin/env bash
# `from torchvision.ops import nms` imports the compiler of torch: the module of RoIAlign asks torch._dynamo whether
# compiling is supported, and with it come its bytecode analysis, torch.fx.experimental and sympy. torch alone imports
# none of these. A command line tool that needs one box operation starts almost twice as slowly as one that needs none,
# although nothing is compiled; box_convert and box_iou, which are plain tensor code, cost the same.
#
# Seen with torch 2.14.1, torchvision 0.29.1, Python 3.11
#   import torch                             torch._dynamo no, sympy no
#   from torchvision.ops import box_convert  torch._dynamo yes, sympy yes: 1,079 modules more, 1.2 s after 1.4 s
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check torch==2.14.1 torchvision==0.29.1
"$folder/venv/bin/python" - 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import sys
import time

WATCHED = ("torch._dynamo", "sympy")
began = time.perf_counter()
import torch  # noqa: E402, F401

alone, first = {name: name in sys.modules for name in WATCHED}, time.perf_counter() - began
before, began = set(sys.modules), time.perf_counter()
from torchvision.ops import box_convert  # noqa: E402, F401

after, second = {name: name in sys.modules for name in WATCHED}, time.perf_counter() - began
print("import torch:", alone, f"{first:.1f} s")
print("box_convert:", after, len(set(sys.modules) - before), "modules more,", f"{second:.1f} s")
sys.exit(any(alone.values()) or not all(after.values()))
PY
