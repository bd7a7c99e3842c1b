"""The process of ``bench`` that measures one model and prints the result."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from tutelage.deploy.formats import runtime_packages
from tutelage.deploy.runtime import open_model
from tutelage.errors import UserError
from tutelage.evaluation.speed import timed

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Return latency, peak memory and the device's name.

    Args:
        request: ``file``, ``runtime``, ``device``, ``size``, ``batch``, ``repeats``, ``threads``,
            ``half``.
    """
    torch.set_num_threads(request["threads"])
    # The memory of the runtime and of torch itself does not count.
    for package in runtime_packages(request["runtime"]):
        import_module(package)
    with contextlib.suppress(OSError):
        RESET.write_text("5")
    before = _resident("VmRSS")
    model = open_model(
        request["file"],
        request["device"],
        half=request["half"],
        openvino=request["runtime"] == "openvino",
    )
    images = torch.rand(request["batch"], 3, request["size"], request["size"])
    images = images.to(model.device, memory_format=torch.channels_last)
    with torch.inference_mode():
        latency = timed(
            lambda: model.network(images), device=model.device, repeats=request["repeats"]
        )
    after, peak = _resident("VmHWM"), None
    if model.device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(model.device) / 2**20
    elif model.hardware == "cpu" and before is not None and after is not None:
        peak = after - before
    return {**latency._asdict(), "memory_mib": peak, "hardware": model.hardware}


def _resident(field: str) -> float | None:
    """Return the current (``VmRSS``) or peak (``VmHWM``) memory in MiB, on Linux."""
    if not STATUS.exists():
        return None
    match = re.search(rf"^{field}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    return int(match[1]) / 1024 if match else None


if __name__ == "__main__":
    try:
        print(json.dumps(measure(json.loads(sys.argv[1]))))
    except UserError as error:
        print(json.dumps({"error": str(error)}))
