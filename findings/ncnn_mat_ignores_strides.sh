#!/usr/bin/env bash
# ncnn.Mat of Python takes any array of numpy and reads its memory from the first value on, as if it lay in order. A view
# that is not in order, image.transpose(2, 0, 1) as every example of a detector has it, or a crop, so becomes a Mat of
# the right shape with other values: the channels are mixed into each other. Nothing is said, a network finds less or
# nothing, and it looks like a fault of the conversion. Any arithmetic beforehand hides it only if its result is in
# order: image.transpose(2, 0, 1) / 255 keeps the order of its operand. np.ascontiguousarray makes all of them right.
#
# Seen with ncnn 1.0.20261020, numpy 2.4.6, Python 3.11; does the Mat hold the values of the array?
#                                      as it is   np.ascontiguousarray
#   image of 3 x 4 x 6                 yes        yes
#   image.transpose(2, 0, 1)           no         yes; expected yes everywhere, or an error
#   image.transpose(2, 0, 1) / 255     no         yes
#   image[:, :3]                       no         yes
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check ncnn==1.0.20261020 numpy==2.4.6
"$folder/venv/bin/python" - 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import sys

import ncnn
import numpy as np

rows = np.arange(4 * 6 * 3, dtype=np.float32).reshape(4, 6, 3)
arrays = {
    "contiguous": np.arange(72, dtype=np.float32).reshape(3, 4, 6),
    "transpose": rows.transpose(2, 0, 1),
    "transpose / 255": rows.transpose(2, 0, 1) / np.float32(255),
    "crop": np.arange(72, dtype=np.float32).reshape(3, 4, 6)[:, :3],
}


def holds(array):
    mat = ncnn.Mat(array)
    assert (mat.c, mat.h, mat.w) == array.shape
    return bool(np.array_equal(np.array(mat), array))


seen = {}
for name, array in arrays.items():
    ordered = np.ascontiguousarray(array)
    seen[name] = holds(array), holds(ordered)
    print(f"{name:16} {array.shape} as it is {seen[name][0]}, np.ascontiguousarray {seen[name][1]}")
expected = {name: (name == "contiguous", True) for name in arrays}
sys.exit(seen != expected)
PY
