#!/usr/bin/env bash
# Code that turns a size into a number, int(x.shape[-1]), fixes it; torch.export refuses to export that with a free
# size: "You marked ... as dynamic but your code specialized it to be a constant". Detectors take sizes that are a
# multiple of their stride, 32 * Dim("columns"), and the size that is turned into a number is that of a map, a 32nd of
# the image. This is exported without a word, with the number of the example inside and a range of sizes in
# range_constraints. The program itself refuses other sizes when it is called. A file made from it does not: the ONNX
# file here, a mean over the columns of a map, gives other numbers for each size but that of the example.
#
# Seen with torch 2.14.1, onnx 1.23.2, onnxscript 0.7.2, onnxruntime 1.32.0, numpy 2.4.6, Python 3.11; the example has
# 96 columns, the image all ones, so that every mean is 1
#   int of                 exported    program, 160 columns   ONNX file, 96 columns   160 columns
#   the image's columns    refused
#   the map's columns      yes         AssertionError         1.0                     1.6667, expected 1.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check \
  torch==2.14.1 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 numpy==2.4.6
"$folder/venv/bin/python" - "$folder/mean.onnx" 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import sys

import numpy as np
import onnxruntime
import torch
from torch.export import Dim, export
from torch.nn import functional as F


class OfImage(torch.nn.Module):
    def forward(self, x):
        return x.sum(-1) / int(x.shape[-1])


class OfMap(torch.nn.Module):
    def forward(self, x):
        cells = F.avg_pool2d(x, 32)
        return cells.sum(-1) / int(cells.shape[-1])


def program_of(model):
    free = {3: 32 * Dim("columns", max=64)}
    return export(model, (torch.ones(1, 3, 96, 96),), dynamic_shapes=(free,))


def answer(step):
    try:
        return step()
    except Exception as problem:
        return type(problem).__name__


refused = answer(lambda: program_of(OfImage()))
program = program_of(OfMap())
called = answer(lambda: program.module()(torch.ones(1, 3, 96, 160)))
torch.onnx.export(program, (), sys.argv[1], verbose=False)
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
means = []
for columns in (96, 160):
    image = np.ones((1, 3, 96, columns), np.float32)
    (found,) = session.run(None, {session.get_inputs()[0].name: image})
    means.append(round(float(found.mean()), 4))
print("torch", torch.__version__, "onnxruntime", onnxruntime.__version__)
print("the image's columns:", refused)
print("the map's columns: range", program.range_constraints, "called", called, "ONNX", means)
if (refused, called, means) != ("UserError", "AssertionError", [1.0, 1.6667]):
    sys.exit("torch no longer behaves as described")
PY
