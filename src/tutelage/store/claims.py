"""Which process fills which part of a store: claims that end with the process that has them."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path
from typing import Self

CLAIMS = "teach.lock"
_TAKEN = (errno.EACCES, errno.EAGAIN)


class Claims:
    """Claims parts of the work on a store for this process.

    A claim is a lock of one byte of an empty file: the system lifts it when the process ends,
    however it ends. Where files cannot be locked every claim is granted: two processes may then do
    the same work, which harms nothing.

    Args:
        folder: The folder of the store.
    """

    def __init__(self, folder: Path) -> None:
        self._handle: int | None = None
        if sys.platform != "win32":
            try:
                self._handle = os.open(folder / CLAIMS, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError:  # told by what is written next
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def take(self, part: int) -> bool:
        """Claim a part, 0 … 2⁶² - 1; False: another process has it."""
        if sys.platform == "win32" or self._handle is None:
            return True
        import fcntl

        try:
            fcntl.lockf(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, part)
        except OSError as error:
            return error.errno not in _TAKEN
        return True

    def release(self, part: int) -> None:
        """Give a part up."""
        if sys.platform == "win32" or self._handle is None:
            return
        import fcntl

        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.lockf(self._handle, fcntl.LOCK_UN, 1, part)

    def close(self) -> None:
        """Give all parts up."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
