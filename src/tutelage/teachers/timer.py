"""Timing of the teachers' forward passes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class ForwardTimer:
    """Accumulates the time of forward passes; on CUDA with events, without synchronising."""

    def __init__(self) -> None:
        self._seconds, self._passes = 0.0, 0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def measure(self, device: torch.device) -> Iterator[None]:
        """Time one pass on ``device``."""
        self._passes, self._device = self._passes + 1, device
        if device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            yield
            end.record()
            self._events.append((start, end))
        else:
            start = time.perf_counter()
            yield
            self._seconds += time.perf_counter() - start

    def take(self) -> dict[str, float]:
        """Return the cost of the passes since the last call; empty without a pass.

        Returns:
            ``teacher_ms`` per pass, ``teacher_seconds`` of all, and on CUDA ``memory_gib``: the
            peak memory of the process.
        """
        if not self._passes:
            return {}
        memory: dict[str, float] = {}
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            self._seconds = sum(start.elapsed_time(end) for start, end in self._events) / 1e3
            peak = torch.cuda.max_memory_allocated(self._device)
            memory = {"memory_gib": round(peak / 2**30, 3)}
        seconds, passes = self._seconds, self._passes
        self._seconds, self._passes, self._events = 0.0, 0, []
        times = {
            "teacher_ms": round(1e3 * seconds / passes, 2),
            "teacher_seconds": round(seconds, 3),
        }
        return {**times, **memory}
