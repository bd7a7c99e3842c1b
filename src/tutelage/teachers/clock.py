"""What the teachers cost, time per step and memory, and asking them no more than needed."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch
from torch import Tensor

from tutelage.structures import Knowledge
from tutelage.teachers import Teachers

KEPT = 2 << 30  # bytes of what teachers said that are kept


class Clocked:
    """Teachers whose forward passes are timed; on CUDA without waiting for the device.

    Args:
        panel: Maps images to what each teacher knows.
        device: Where they run.
    """

    def __init__(self, panel: Teachers, device: torch.device) -> None:
        self._panel, self._device = panel, device
        self._seconds, self._calls = 0.0, 0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._gib = sum(t.numel() * t.element_size() for _, t in panel.state()) / 2**30

    def __call__(
        self, images: Tensor, asked: Mapping[int, bool] | None = None
    ) -> tuple[Knowledge, ...]:
        """Return what each teacher knows, see :class:`~tutelage.teachers.Panel`."""
        self._calls += 1
        if self._device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            knowledge = self._panel(images, asked)
            end.record()
            self._events.append((start, end))
            return knowledge
        begun = time.perf_counter()
        knowledge = self._panel(images, asked)
        self._seconds += time.perf_counter() - begun
        return knowledge

    def take(self) -> dict[str, float]:
        """Return the cost since the last call and start anew; empty if the teachers rested.

        Returns:
            ``teacher_ms`` per step, ``teacher_gib`` of weights, and on CUDA ``memory_gib``: the
            largest amount that the process has held.
        """
        if not self._calls:
            return {}
        if self._events:
            torch.cuda.synchronize(self._device)
            self._seconds = sum(start.elapsed_time(end) for start, end in self._events) / 1e3
        cost = {
            "teacher_ms": round(1e3 * self._seconds / self._calls, 2),
            "teacher_gib": round(self._gib, 4),
        }
        if self._device.type == "cuda":
            cost["memory_gib"] = round(torch.cuda.max_memory_allocated(self._device) / 2**30, 3)
        self._seconds, self._calls, self._events = 0.0, 0, []
        return cost


class CachedTeachers:
    """Teachers that are shown the same few batches again and again: asked once, if memory allows.

    Args:
        panel: The teachers.
        device: Where they run.
    """

    def __init__(self, panel: Teachers, device: torch.device) -> None:
        self._ask = Clocked(panel, device)
        self._known: dict[int, tuple[Tensor, tuple[Knowledge, ...]]] = {}
        self._left = KEPT

    def __call__(self, images: Tensor) -> tuple[Knowledge, ...]:
        """Return what each teacher knows."""
        if id(images) in self._known:
            return self._known[id(images)][1]
        known = self._ask(images)
        self._left -= sum(_bytes(one) for one in known)
        if self._left >= 0:
            self._known[id(images)] = images, known  # with the images, so that the id stays theirs
        return known

    def milliseconds(self) -> float:
        """Return the mean time of a pass since the last call."""
        return self._ask.take()["teacher_ms"]


def _bytes(known: Knowledge) -> int:
    told = (x for x in known.predictions or () if isinstance(x, Tensor))
    tensors = [*known.features, *told]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
