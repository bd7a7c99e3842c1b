"""Latency of a detector as deployed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from tutelage.models.detector import Detector
from tutelage.models.profile import synchronise

WARMUP_SECONDS = 0.5
LEAST = 3  # measurements, however long they take


class Latency(NamedTuple):
    """Milliseconds per batch: the median and the 95th percentile."""

    p50_ms: float
    p95_ms: float


def latency(
    detector: Detector,
    image_size: int | tuple[int, int],
    *,
    batch: int = 1,
    repeats: int = 50,
    seconds: float | None = None,
) -> Latency:
    """Measure a fused, channels-last copy of a detector, with decoding, without NMS.

    Args:
        detector: The model (not modified); it is measured on its own device, in its own precision.
        image_size: Side of the square image, or height and width.
        batch: Images at a time.
        repeats: Batches measured, after a warm-up of half a second (at least three batches).
        seconds: Measure no longer than this, but three batches; None: all repeats.
    """
    deployed = detector.fused().eval()
    example = next(deployed.parameters())
    deployed = deployed.to(memory_format=torch.channels_last)
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, 3, height, width, generator=generator).to(
        device=example.device, dtype=example.dtype, memory_format=torch.channels_last
    )

    def step() -> None:
        output = deployed(images)
        deployed.decode(output.raw, (height, width))

    with torch.inference_mode():
        return timed(step, device=example.device, repeats=repeats, seconds=seconds)


def timed(
    step: Callable[[], object],
    *,
    device: torch.device | str = "cpu",
    repeats: int = 50,
    warmup: float = WARMUP_SECONDS,
    seconds: float | None = None,
) -> Latency:
    """Measure any function, synchronising with the device.

    Args:
        step: Called once per measurement.
        device: Where it computes.
        repeats: Number of measurements.
        warmup: Seconds of warm-up, at least three calls; 0: one call.
        seconds: Measure no longer than this, but three times; None: all repeats.
    """
    device = torch.device(device)
    start, warm = time.perf_counter(), 0
    while warm < (3 if warmup else 1) or time.perf_counter() - start < warmup:
        step()
        synchronise(device)
        warm += 1
    milliseconds: list[float] = []
    began = time.perf_counter()
    for _ in range(repeats):
        late = seconds is not None and time.perf_counter() - began > seconds
        if late and len(milliseconds) >= LEAST:
            break
        start = time.perf_counter()
        step()
        synchronise(device)
        milliseconds.append(1e3 * (time.perf_counter() - start))
    p50, p95 = np.percentile(milliseconds, [50, 95]).tolist()
    return Latency(p50, p95)
