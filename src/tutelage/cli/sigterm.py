"""SIGTERM, which ends services and batch jobs, handled like Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Make SIGTERM raise a KeyboardInterrupt, :class:`~tutelage.run.interrupt.RunKilled`.

    Outside the main thread nothing changes.
    """
    from tutelage.run.interrupt import RunKilled

    def stop(number: int, _frame: object) -> None:
        raise RunKilled(signal.Signals(number))

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def sender(stop: KeyboardInterrupt) -> str:
    """Return what stopped a command: Ctrl-C or the name of the signal."""
    by = getattr(stop, "by", signal.SIGINT)
    return "Ctrl-C" if by == signal.SIGINT else by.name
