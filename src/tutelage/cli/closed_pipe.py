"""A pipe whose reader (``head``, ``less``) has gone is no reason to stop a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast


class ReaderGone(Exception):
    """Nobody reads any more what a command prints."""


class UntilClosed:
    """A text stream that goes on in silence after its reader has gone.

    Its file descriptor becomes ``/dev/null`` then, for subprocesses too.

    Args:
        stream: The stream.
        stop: Raise :class:`ReaderGone` instead. (At a BrokenPipeError rich exits with code 1.)
    """

    def __init__(self, stream: TextIO, *, stop: bool = False) -> None:
        self._stream, self._stop = stream, stop

    def write(self, text: str) -> int:
        """Write a text."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._silence()
            return len(text)

    def flush(self) -> None:
        """Write what is still in memory."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._silence()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _silence(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        if self._stop:
            raise ReaderGone


@contextmanager
def outlive_readers(*, stop: bool = False) -> Iterator[None]:
    """Let stdout and stderr of a command be closed by their readers.

    Args:
        stop: Raise :class:`ReaderGone` when stdout is closed: the command does nothing but print.
    """
    with ExitStack() as stack:
        if sys.stdout is not None:  # closed by the shell: >&-
            stdout = cast("TextIO", UntilClosed(sys.stdout, stop=stop))
            stack.enter_context(redirect_stdout(stdout))
        if sys.stderr is not None:
            stack.enter_context(redirect_stderr(cast("TextIO", UntilClosed(sys.stderr))))
        yield
