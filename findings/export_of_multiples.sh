#!/usr/bin/env bash
# Detectors take sizes that are a multiple of their stride; torch.export has a form for that: 32 * Dim("rows").
# The program can be exported, decomposed and converted; saved as .pt2 and loaded it still runs, but
# run_decompositions fails on an assertion, and the converters that call it do too. Whoever keeps the file and
# not the code that made it learns this when the model is to be deployed. A plain Dim("rows") survives.
#
# Seen with torch 2.14.1, onnxscript 0.7.2, onnx 1.23.2, openvino 2026.4.1, numpy 2.4.6, Python 3.11; expected
# "works" everywhere
#                        runs   run_decompositions  openvino.convert_model  torch.onnx.export
#   rows                 works  works               works                   works
#   rows, loaded         works  works               works                   works
#   32 * rows            works  works               works                   works
#   32 * rows, loaded    works  AssertionError      AssertionError          ConversionError
# The assertion says: expected sympy.Symbol
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check \
  torch==2.14.1 onnxscript==0.7.2 onnx==1.23.2 openvino==2026.4.1 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import sys
from pathlib import Path

import openvino
import torch
from torch.export import Dim, export, load, save

folder = Path(sys.argv[1])
WORKS = ["works"] * 4
EXPECTED = {
    "rows": WORKS,
    "rows, loaded": WORKS,
    "32 * rows": WORKS,
    "32 * rows, loaded": ["works", "AssertionError", "AssertionError", "ConversionError"],
}
model = torch.nn.Conv2d(3, 4, 3, padding=1).eval()
said = set()


def answer(step):
    try:
        step()
    except Exception as problem:
        name = type(problem).__name__
        if isinstance(problem, AssertionError):
            said.add(str(problem))
        return name
    return "works"


def answers(program):
    return [
        answer(lambda: program.module()(torch.zeros(1, 3, 128, 96))),
        answer(lambda: program.run_decompositions()),
        answer(lambda: openvino.convert_model(program)),
        answer(lambda: torch.onnx.export(program, (), folder / "a.onnx", verbose=False)),
    ]


result = {}
for name, rows in {"rows": Dim("rows"), "32 * rows": 32 * Dim("rows")}.items():
    program = export(model, (torch.zeros(1, 3, 64, 96),), dynamic_shapes={"input": {2: rows}})
    save(program, folder / "a.pt2")
    result[name] = answers(program)
    result[f"{name}, loaded"] = answers(load(folder / "a.pt2"))
print("runs, run_decompositions, openvino.convert_model, torch.onnx.export")
for name, row in result.items():
    print(f"{name:18}", ", ".join(row))
print("the assertion says:", *said)
if result != EXPECTED or said != {"expected sympy.Symbol"}:
    sys.exit("a library no longer behaves as described")
PY
