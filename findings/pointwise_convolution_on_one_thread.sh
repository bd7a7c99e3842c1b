#!/usr/bin/env bash
# On the CPU torch runs convolutions by oneDNN, but not 1 x 1 convolutions on one thread with fewer than 16
# images: these take its own slow_conv2d, whose backward pass also fills its gradients with zeros first. With two
# threads, from 16 images on, or with a 3 x 3 kernel oneDNN is taken, in both memory formats. So OMP_NUM_THREADS=1,
# usual where several jobs share a machine, changes more than the number of threads, and a model of 1 x 1
# convolutions that is timed with batch 8 and 16 on one thread is timed by two implementations.
#
# Seen with torch 2.14.1, numpy 2.4.6, Python 3.11; names of the operations in torch.profiler, 64 to 32 channels
#   kernel  threads  batch 1  8     15    16     32
#   1 x 1   1        slow     slow  slow  onednn onednn
#   1 x 1   2        onednn   (all)
#   3 x 3   1, 2     onednn   (all)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check torch==2.14.1 numpy==2.4.6
"$folder/venv/bin/python" - 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import sys

import torch
from torch.profiler import ProfilerActivity, profile

BATCHES = (1, 8, 15, 16, 32)


def implementation(kernel, threads, batch, layout):
    torch.set_num_threads(threads)
    x = torch.randn(batch, 64, 40, 40).to(memory_format=layout).requires_grad_()
    weight = torch.randn(32, 64, kernel, kernel).to(memory_format=layout).requires_grad_()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        torch.nn.functional.conv2d(x, weight, padding=kernel // 2).sum().backward()
    names = {event.name for event in profiled.events()}
    if any("_slow_conv2d" in name for name in names):
        return "slow"
    return "onednn" if any("mkldnn_convolution" in name for name in names) else "another"


failed = False
for layout in (torch.channels_last, torch.contiguous_format):
    for kernel in (1, 3):
        for threads in (1, 2):
            seen = [implementation(kernel, threads, batch, layout) for batch in BATCHES]
            few = kernel == 1 and threads == 1
            expected = ["slow" if few and batch < 16 else "onednn" for batch in BATCHES]
            failed |= seen != expected
            print(f"{kernel} x {kernel}, {threads} threads, {layout}:", *seen)
sys.exit(failed)
PY
