"""Calls that a thread of its own makes: their pace and their errors are not those of the run."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from tutelage.sanitise import hide_credentials, printable

BACKLOG = 64  # calls that wait; more are not added if they may be left out
LONGEST = 120  # characters of an error, and of its cause


class Counts(NamedTuple):
    """What a tracker did not get.

    Attributes:
        dropped: Calls that were left out since too many were waiting.
        failed: Calls that raised an error.
        waiting: Calls that were not made when the run ended.
    """

    dropped: int
    failed: int
    waiting: int


class BackgroundCalls:
    """Makes calls one after the other in a daemon thread, in the order of :meth:`put`.

    Args:
        name: Of the thread.
        first: A call that must succeed before any other is made; it is tried again before each.

    Attributes:
        trouble: The first error in few words; empty without one.
    """

    def __init__(self, name: str, first: Callable[[], None]) -> None:
        self.trouble = ""
        self._first, self._ready = first, threading.Event()
        self._calls: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._dropped = self._failed = 0
        self._closed = self._busy = False
        self._thread = threading.Thread(target=self._work, name=f"tracker-{name}", daemon=True)
        self._thread.start()

    def put(self, call: Callable[[], None], *, optional: bool = False) -> None:
        """Add a call; never waits.

        Args:
            call: The call.
            optional: Leave it out if too many are waiting.
        """
        with self._changed:
            if optional and len(self._calls) >= BACKLOG:
                self._dropped += 1
                return
            self._calls.append(call)
            self._changed.notify()

    def wait_for_first(self, seconds: float) -> None:
        """Wait until the first call was tried."""
        self._ready.wait(seconds)

    def close(self) -> None:
        """End the thread after the calls that are waiting now."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def join(self, seconds: float) -> bool:
        """Wait for the end of a closed thread; return whether it has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def counts(self) -> Counts:
        """Return how many calls were not made."""
        with self._changed:
            waiting = len(self._calls) + self._busy
            return Counts(self._dropped, self._failed, waiting)

    def _work(self) -> None:
        started = self._try(self._first)
        self._ready.set()
        while (call := self._next()) is not None:
            started = started or self._try(self._first)
            if not started or not self._try(call):
                self._failed += 1

    def _next(self) -> Callable[[], None] | None:
        """Wait for a call; None: there will be no more."""
        with self._changed:
            self._busy = False
            while not self._calls:
                if self._closed:
                    return None
                self._changed.wait()
            self._busy = True
            return self._calls.popleft()

    def _try(self, call: Callable[[], None]) -> bool:
        try:
            call()
        except (Exception, SystemExit) as error:  # whatever a package does: the run goes on
            self.trouble = self.trouble or _in_words(error)
            return False
        return True


def _in_words(error: BaseException) -> str:
    """Return the first line of an error, and that of the error that began it."""
    cause = error
    while (before := cause.__cause__ or cause.__context__) is not None:
        cause = before
    text = _first_line(error)
    return text if cause is error else f"{text} ({_first_line(cause)})"


def _first_line(error: BaseException) -> str:
    """Return the first line of an error, without credentials of an address in it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    text = printable(" ".join(hide_credentials(word) for word in lines[0].split()))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
