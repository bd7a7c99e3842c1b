#!/usr/bin/env bash
# safetensors.save writes the tensors in a fixed order, but the metadata in one that is drawn anew at every call:
# the same weights with the same metadata give other bytes each time, within one process too, and
# PYTHONHASHSEED changes nothing. A checksum of a file of weights (in a registry of models, a cache, DVC, a
# "did the training repeat itself?" test) so reports another model where there is none. Up to one entry
# (one JSON text that holds all) is safe.
#
# Seen with safetensors 0.8.0, numpy 2.4.6, Python 3.11; different files in 8 processes of 8 calls each;
# expected 1 each
#   no metadata 1, one entry 1, eight entries: more than 1, between processes and within one
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --no-deps --disable-pip-version-check \
  safetensors==0.8.0 numpy==2.4.6
"$folder/venv/bin/python" - 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import os
import subprocess
import sys

PROCESSES = 8
CODE = """
import hashlib, sys
import numpy as np
from safetensors.numpy import save
weights = {name: np.zeros(3, np.float32) for name in ("head", "neck", "backbone")}
metadata = {f"key{number}": "value" for number in range(int(sys.argv[1]))} or None
for _ in range(8):
    print(hashlib.sha256(save(weights, metadata=metadata)).hexdigest())
"""
environment = {**os.environ, "PYTHONHASHSEED": "0"}
failed = False
for entries in (0, 1, 8):
    command = [sys.executable, "-c", CODE, str(entries)]
    runs = [
        subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()
        for _ in range(PROCESSES)
    ]
    between = len({run[0] for run in runs})
    within = len(set(runs[0]))
    print(f"{entries} entries: different files between processes {between}, within one {within}")
    failed |= (between > 1, within > 1) != (entries > 1, entries > 1)
if failed:
    sys.exit("safetensors no longer behaves as described")
PY
