"""Warns of a long run on the CPU where no GPU was found."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from tutelage.run.events import Event, Notice, StepDone

STEPS = 10  # that are timed, after the first one, which waits for the loader
LONG = 60.0  # seconds per epoch that are worth a warning


class PaceMonitor:
    """Warns once, early, when training on the CPU for lack of a GPU takes long.

    Args:
        wanted: ``train.device``; an explicit ``cpu`` needs no warning.
        device: The device of the run.
        steps: Steps per epoch.
        now: Returns the time in seconds.
    """

    def __init__(
        self,
        wanted: str,
        device: torch.device,
        steps: int,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._measures = wanted == "auto" and device.type == "cpu"
        self._epoch_steps, self._now = steps, now
        self._since: float | None = None
        self._counted, self._seconds = 0, 0.0

    def check(self, event: Event) -> Notice | None:
        """Add up the time of steps, without evaluations and measurements between them."""
        if not self._measures:
            return None
        now = self._now()
        since, self._since = self._since, now
        if not isinstance(event, StepDone) or since is None:
            return None
        if event.step == 1:  # the loader begins anew
            return None
        self._counted, self._seconds = self._counted + 1, self._seconds + now - since
        if self._counted < STEPS:
            return None
        self._measures = False
        epoch = self._seconds / self._counted * self._epoch_steps
        if epoch < LONG:
            return None
        text = f"No GPU found; training on CPU: about {_words(epoch)} per epoch at this size."
        return Notice("warning", text, "C18")


def _words(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 99.5 else f"{minutes / 60:.0f} h"
