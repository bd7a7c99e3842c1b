"""CPU threads of the network, and worker processes of the loader."""

from __future__ import annotations

import copy
import os
import time
from timeit import repeat

import torch

from tutelage.models.graph import GraphDetector

TRIES = 3  # forward passes per number of threads
MIN_SPEEDUP = 1.1  # of more threads over fewer
TRIED_PIXELS = 1 << 20  # per forward pass: enough to compare, and seconds for large networks


def free_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_threads(setting: int | str, student: GraphDetector, image_size: int, batch: int) -> int:
    """Return the number of CPU threads for the network; ``auto`` times the student's forward pass.

    Small networks gain nothing from more threads, and threads that share a core with another busy
    process wait for each other: two can be ten times slower than one. ``OMP_NUM_THREADS`` overrides
    the timing.

    Args:
        setting: ``train.threads``.
        student: The network; not changed.
        image_size: Side of the images in pixels.
        batch: Images per step.
    """
    if setting != "auto":
        return int(setting)
    before = torch.get_num_threads()
    if "OMP_NUM_THREADS" in os.environ:
        return before
    count = max(min(batch, TRIED_PIXELS // image_size**2), 1)
    images = torch.rand(count, 3, image_size, image_size).to(memory_format=torch.channels_last)
    probe = copy.deepcopy(student).eval().to(memory_format=torch.channels_last)
    cores = free_cores()
    seconds: dict[int, float] = {}
    try:
        with torch.inference_mode():
            for threads in sorted({1, max(cores // 2, 1), cores}):
                torch.set_num_threads(threads)
                times = repeat(
                    lambda: probe(images), timer=time.perf_counter, number=1, repeat=TRIES
                )
                seconds[threads] = min(times)
    finally:
        torch.set_num_threads(before)
    best = min(seconds.values())
    return min(n for n, each in seconds.items() if each <= MIN_SPEEDUP * best)


def choose_workers(setting: int | str, device: torch.device) -> int:
    """Return the number of loader workers.

    On the CPU they get the cores that the network leaves. A GPU waits for its images: as many
    workers as cores, up to eight.
    """
    if setting != "auto":
        return int(setting)
    cores = free_cores()
    if device.type == "cuda":
        return min(cores, 8)
    return min(max(cores - torch.get_num_threads(), cores // 4), 8)
