"""How long an epoch will take, told early where no GPU was found: nobody waits a day unawares."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from tutelage.run.events import Event, Notice, StepDone

STEPS = 10  # that are measured, after the first one, which waits for the loader
LONG = 60.0  # seconds of an epoch that are worth a warning


class PaceMonitor:
    """Warns once when a run trains on the CPU because there is no GPU, and will take long.

    Args:
        wanted: The device that was asked for. Who asks for the CPU knows.
        device: The device of the run.
        steps: Steps per epoch.
        now: The time in seconds.
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

    def see(self, event: Event) -> Notice | None:
        """Add up what steps take; evaluations and readings between them do not count."""
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
