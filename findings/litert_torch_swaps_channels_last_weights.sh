#!/usr/bin/env bash
# A detector that runs channels-last on the CPU or GPU, converted for phones by litert_torch, has weights of one layer
# in the place of another's: the second of two 3 x 3 convolutions of equal shape gets the kernel of the first, with its
# own bias. The converter knows a weight by the address of its contiguous copy, which it frees before the next weight
# is copied to the same place. Weights that are contiguous already are not copied, so the same network is converted
# rightly after .to(memory_format=torch.contiguous_format). No warning; the file runs, and is smaller.
#
# Seen with litert-torch 0.10.0, litert-converter 0.5.0, ai-edge-litert 2.3.0, torch 2.14.1, jax 0.10.2, torchao 0.18.0,
# Python 3.11; two convolutions 3 x 3 from 16 to 16 channels; expected a difference of about 1e-7 and two kernels
#                        largest difference   kernels in the file
#   contiguous weights   4e-07                2
#   channels-last        0.95                 1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
# The last three without what they ask for beyond: an old typing_extensions, and parts for language models.
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check torch==2.14.1 \
  ai-edge-litert==2.3.0 jax==0.10.2 torchao==0.18.0 immutabledict==4.3.1 absl-py==2.5.1 rich==15.0.0 packaging==26.3 \
  numpy==2.4.6
"$folder/venv/bin/pip" install -q --no-compile --no-deps --disable-pip-version-check \
  litert-torch==0.10.0 litert-converter==0.5.0 ai-edge-quantizer==0.10.0
"$folder/venv/bin/python" - "$folder" 2>"$folder/stderr" >"$folder/stdout" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import sys
from pathlib import Path

import litert_torch
import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

path = Path(sys.argv[1]) / "a.tflite"
torch.manual_seed(0)
network = torch.nn.Sequential(*(torch.nn.Conv2d(16, 16, 3, padding=1) for _ in range(2))).eval()
image = torch.rand(1, 16, 32, 32)
said = []


def converted(memory_format):
    model = network.to(memory_format=memory_format)
    litert_torch.convert(model, (image,)).export(str(path))
    interpreter = Interpreter(str(path), num_threads=1)
    [found] = interpreter.get_signature_runner()(args_0=image.numpy()).values()
    graph = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    sizes = [len(buffer.data) for buffer in graph.buffers if buffer.data is not None]
    with torch.no_grad():
        return float(np.abs(found - model(image).numpy()).max()), sizes.count(16 * 16 * 9 * 4)


for name, form in (("contiguous", torch.contiguous_format), ("channels-last", torch.channels_last)):
    difference, kernels = converted(form)
    said.append((difference < 1e-5, kernels))
    print(f"RESULT {name}: largest difference {difference:.2g}, kernels in the file: {kernels}")
if said != [(True, 2), (False, 1)]:
    sys.exit(f"LiteRT Torch no longer behaves as described: {said}")
PY
grep RESULT "$folder/stdout" | cut -c 8-
