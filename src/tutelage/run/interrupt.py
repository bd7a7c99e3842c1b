"""Ctrl-C and SIGTERM: the current step ends and is saved, then the run stops."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import FrameType
from typing import NamedTuple, Self, TypeVar

import torch
from accelerate import Accelerator

from tutelage.training.schedule import Position

AGREE_EVERY = 10  # batches between exchanges of the processes on GPUs: each waits for the device
ECHO = 1.0  # seconds in which terminal and launcher (torchrun) may both send the same Ctrl-C

T = TypeVar("T")


class RunKilled(KeyboardInterrupt):
    """The run stops at once, without a save.

    Attributes:
        by: The signal.
    """

    def __init__(self, by: signal.Signals, *args: object) -> None:
        self.by = by
        super().__init__(*args)


class RunInterrupted(RunKilled):
    """The run stops, and everything up to here is saved.

    Attributes:
        position: Where a resumed run continues.
    """

    def __init__(self, position: Position, by: signal.Signals = signal.SIGINT) -> None:
        self.position = position
        super().__init__(by, f"saved after {position.in_words()}")


class SharedDecision(NamedTuple):
    """What all processes do now: stop after a save, or save and go on."""

    stop: bool
    save: bool


class InterruptHandler:
    """Context that handles SIGINT and SIGTERM (which clusters send) during training.

    The first signal is remembered. A second one, later than an echo of the first, raises
    :class:`RunKilled` wherever the program is. Outside the main thread signals are not handled.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._previous: dict[signal.Signals, object] = {}
        self._batches = 0
        self._received, self._time, self._signal = False, 0.0, signal.SIGTERM

    def __enter__(self) -> Self:
        """Install the handlers."""
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(ValueError):  # not the main thread
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        """Restore the previous handlers."""
        for number, previous in self._previous.items():
            signal.signal(number, previous)  # type: ignore[arg-type]  # what it returned itself
        self._previous = {}

    def decide(self, due: bool, *, now: bool = False) -> SharedDecision:
        """Return what all processes do; each must call this after every optimizer step.

        Args:
            due: Whether this process wants to save.
            now: Exchange with the other processes in any case, not every few batches.
        """
        if self._accelerator.num_processes > 1 and not now:
            self._batches += self._accelerator.gradient_accumulation_steps
            if self._accelerator.device.type != "cpu" and self._batches < AGREE_EVERY:
                return SharedDecision(stop=False, save=False)
            self._batches = 0
        stop, save = self._any(self._received, due)
        return SharedDecision(stop, stop or save)

    def interruptible(self, items: Iterable[T], position: Position, common: int) -> Iterator[T]:
        """Yield items; raise before the next one after a signal.

        Args:
            items: The items of this process.
            position: Where a resumed run continues.
            common: Number of items that every process has: only before these they exchange.

        Raises:
            RunInterrupted: A process got a signal.
        """
        for number, item in enumerate(items):
            if number < common and self._any(self._received)[0]:
                raise self.interrupted(position)
            yield item

    def interrupted(self, position: Position) -> RunInterrupted:
        """Return what to raise once the run is saved."""
        return RunInterrupted(position, self._signal)

    def _any(self, *flags: bool) -> list[bool]:
        """Return for each flag whether it is set on any process."""
        if self._accelerator.num_processes == 1:
            return list(flags)
        own = torch.tensor(flags, dtype=torch.float32, device=self._accelerator.device)
        counts = self._accelerator.reduce(own, "sum")
        return [bool(each) for each in counts.tolist()]  # pyright: ignore[reportAttributeAccessIssue]

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self._received:
            self._received, self._time, self._signal = True, now, signal.Signals(number)
        elif now - self._time >= ECHO:
            raise RunKilled(signal.Signals(number))


class SaveTimer:
    """Whether it is time to save.

    Args:
        minutes: Between two saves; 0 is never.
    """

    def __init__(self, minutes: float) -> None:
        self._seconds, self._last = 60 * minutes, time.monotonic()

    def due(self) -> bool:
        """Return whether the time has passed since the last save."""
        return self._seconds > 0 and time.monotonic() - self._last >= self._seconds

    def restart(self) -> None:
        """Count from now on."""
        self._last = time.monotonic()
