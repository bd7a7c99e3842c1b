"""Ctrl-C and SIGTERM: the step that is under way ends and is saved, then the run stops."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Iterator
from types import FrameType, TracebackType
from typing import NamedTuple, Self, TypeVar

import torch
from accelerate import Accelerator

from tutelage.train.schedule import Position

AGREE_EVERY = 10  # batches between the processes' asking each other on GPUs: it waits for them
ECHO = 1.0  # seconds: the terminal and a launcher such as torchrun both send the same Ctrl-C

T = TypeVar("T")


class RunKilled(KeyboardInterrupt):
    """The run was asked to stop, and stops at once.

    Attributes:
        by: The signal.
    """

    def __init__(self, by: signal.Signals, *told: object) -> None:
        self.by = by
        super().__init__(*told)


class RunInterrupted(RunKilled):
    """The run was asked to stop, and everything up to here is saved.

    Attributes:
        at: Where it goes on.
    """

    def __init__(self, at: Position, by: signal.Signals = signal.SIGINT) -> None:
        self.at = at
        super().__init__(by, f"saved after {at.in_words()}")


class SharedDecision(NamedTuple):
    """What all processes do now: stop after a save, or save and go on."""

    stop: bool
    save: bool


class InterruptHandler:
    """Listens, as a context, whether the run is asked to stop.

    The first SIGINT or SIGTERM (clusters send it) is noted. A second one, no echo of the first,
    raises :class:`RunKilled` wherever the program is: the last save stays. Outside the main thread
    nothing is heard.

    Args:
        accelerator: Joins the processes.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._before: dict[signal.Signals, object] = {}
        self._batches = 0
        self._heard_at, self._by = 0.0, signal.SIGTERM
        self.heard = False

    def __enter__(self) -> Self:
        """Begin to listen."""
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._note)
            except ValueError:  # not the main thread
                break
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the signals to whoever had them before."""
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]  # what it returned itself
        self._before = {}

    def agreed(self, due: bool, *, now: bool = False) -> SharedDecision:
        """Return what all processes do; to be asked by each, after every optimizer step.

        Args:
            due: Whether it is time to save for this one.
            now: Ask the others in any case.
        """
        if self._accelerator.num_processes > 1 and not now:
            self._batches += self._accelerator.gradient_accumulation_steps
            if self._accelerator.device.type != "cpu" and self._batches < AGREE_EVERY:
                return SharedDecision(stop=False, save=False)
            self._batches = 0
        stop, save = self._any(self.heard, due)
        return SharedDecision(stop, stop or save)

    def between(self, items: Iterable[T], at: Position, common: int) -> Iterator[T]:
        """Pass items on; a run that is asked to stop raises before the next one.

        Args:
            items: The items of this process.
            at: Where the run goes on.
            common: So many items every process has: before these they ask each other.

        Raises:
            Stopped: It was asked to.
        """
        for number, item in enumerate(items):
            if number < common and self._any(self.heard)[0]:
                raise self.stopped(at)
            yield item

    def stopped(self, at: Position) -> RunInterrupted:
        """Return what to raise once the run is saved."""
        return RunInterrupted(at, self._by)

    def _any(self, *mine: bool) -> list[bool]:
        """Return for each wish whether any process has it."""
        if self._accelerator.num_processes == 1:
            return list(mine)
        told = torch.tensor(mine, dtype=torch.float32, device=self._accelerator.device)
        found = self._accelerator.reduce(told, "sum")
        return [bool(each) for each in found.tolist()]  # pyright: ignore[reportAttributeAccessIssue]

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        now = time.monotonic()
        if not self.heard:
            self.heard, self._heard_at, self._by = True, now, signal.Signals(number)
        elif now - self._heard_at >= ECHO:
            raise RunKilled(signal.Signals(number))


class SaveTimer:
    """Whether it is time again.

    Args:
        minutes: Between two times; 0 is never.
    """

    def __init__(self, minutes: float) -> None:
        self._seconds, self._last = 60 * minutes, time.monotonic()

    def due(self) -> bool:
        """Whether it is."""
        return self._seconds > 0 and time.monotonic() - self._last >= self._seconds

    def restart(self) -> None:
        """Count from now on."""
        self._last = time.monotonic()
