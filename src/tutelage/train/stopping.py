"""Ctrl-C and SIGTERM: the step that is under way ends and is saved, then the run stops."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Iterator
from types import FrameType, TracebackType
from typing import Self, TypeVar

import torch
from accelerate import Accelerator

from tutelage.train.plan import Position

AGREE_EVERY = 10  # optimizer steps between the processes' asking each other
ECHO = 1.0  # seconds: the terminal and a launcher such as torchrun both send the same Ctrl-C

T = TypeVar("T")


class Stopped(KeyboardInterrupt):
    """The run was asked to stop, and everything up to here is saved.

    Attributes:
        at: Where it goes on.
    """

    def __init__(self, at: Position) -> None:
        self.at = at
        super().__init__(f"saved after {at.in_words()}")


class Stop:
    """Listens, as a context, whether the run is asked to stop.

    The first SIGINT or SIGTERM (clusters send it) is noted. A second one, no echo of the first,
    raises KeyboardInterrupt wherever the program is: the last save stays. Outside the main thread
    nothing is heard.

    Args:
        accelerator: Joins the processes.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._before: dict[signal.Signals, object] = {}
        self._steps = 0
        self._heard_at = 0.0
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

    def agreed(self) -> bool:
        """Whether all processes stop here; to be asked after every optimizer step of each."""
        if self._accelerator.num_processes == 1:
            return self.heard
        self._steps += 1
        if self._steps % AGREE_EVERY:
            return False
        mine = torch.tensor(float(self.heard), device=self._accelerator.device)
        return bool(self._accelerator.reduce(mine, "sum"))

    def between(self, items: Iterable[T], at: Position) -> Iterator[T]:
        """Pass items on; a single process that is asked to stop raises before the next one.

        Raises:
            Stopped: It was asked to.
        """
        for item in items:
            if self.heard and self._accelerator.num_processes == 1:
                raise Stopped(at)
            yield item

    def _note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        now = time.monotonic()
        if not self.heard:
            self.heard, self._heard_at = True, now
        elif now - self._heard_at >= ECHO:
            raise KeyboardInterrupt


class Interval:
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
