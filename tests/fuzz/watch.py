"""What no input may cause: something run, something written elsewhere, too much memory or time."""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

_RUN = ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "os.startfile")
_FOUND = ("pickle.find_class", "socket.connect", "socket.getaddrinfo", "urllib.Request")
_CHANGE = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.chmod")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_active: list[Watch] = []


class LateError(BaseException):
    """A round took too long; no handler of ordinary errors may swallow it."""


class Watch:
    """While this lasts, nothing may be run, looked up, or written but below some folders.

    Args:
        *rooms: The folders that may be written to.
        seconds: Limit of processor time.
        mib: Limit of what the process's largest memory may grow by.
    """

    def __init__(self, *rooms: Path, seconds: float = 20, mib: float = 2_000) -> None:
        self.rooms = tuple(f"{os.path.realpath(room)}{os.sep}" for room in rooms)
        self.seconds, self.mib, self.seen = seconds, mib, list[str]()

    def __enter__(self) -> None:
        self.peak = _peak()
        self.before = signal.signal(signal.SIGPROF, self._late)
        signal.setitimer(signal.ITIMER_PROF, self.seconds)  # of the processor: others may be busy
        _active.append(self)

    def __exit__(self, *_: object) -> None:
        _active.remove(self)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, self.before)
        assert not self.seen, f"it was not to be done: {self.seen[:3]}"
        grown = _peak() - self.peak
        assert grown < self.mib, f"memory grew by {grown:.0f} MiB"

    def _late(self, *_: object) -> None:
        raise LateError(f"more than {self.seconds} s of the processor")

    def within(self, path: object) -> bool:
        """Say whether a path lies in one of the rooms."""
        if not isinstance(path, str | bytes | os.PathLike):
            return True  # of an open file
        name = os.fsdecode(path)
        place = f"{os.path.realpath(Path(name).parent)}{os.sep}"
        return place.startswith(self.rooms) or name.startswith("/dev/")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _active:
        return
    watch = _active[-1]
    bad = event in _RUN or event in _FOUND
    if event == "open" and isinstance(args[2], int) and args[2] & _WRITES:
        bad = not watch.within(args[0])
    elif event in _CHANGE:
        places = args[1:2] if event in ("os.symlink", "os.link") else args[:2]
        bad = not all(watch.within(place) for place in places if not isinstance(place, int))
    if bad:
        watch.seen.append(f"{event} {args!r:.200}")


sys.addaudithook(_audit)
