"""A command as a user calls it, without the cost of a new command line each time."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import typer

from tutelage.cli.error_messages import RunError, describe_error

LONGEST = 8_000


class FaultError(AssertionError):
    """An end that is neither a result nor a clear error."""


def command(function: Callable[..., None], **options: Any) -> tuple[int, str]:
    """Run the function of a command; return exit code and what was printed.

    Raises:
        FaultError: It ended in a message that is too long for a screen, or could steer a terminal.
        Exception: What the command line would show as unforeseen.
    """
    out, code = io.StringIO(), 0
    try:
        with redirect_stdout(out), redirect_stderr(out):
            function(**options)
    except typer.Exit as end:
        code = end.exit_code
    except Exception as error:
        cause = error.__cause__ if isinstance(error, RunError) else error
        problem = describe_error(cause or error)
        if problem.unforeseen or problem.exit_code not in (2, 3, 4, 5):
            raise
        code = problem.exit_code
        message = "\n".join(problem[:3])
        if len(message) > LONGEST:
            raise FaultError(f"a message of {len(message)} letters: {message[:300]}") from error
        out.write(message)
    text = out.getvalue()
    strange = {letter for letter in text if not letter.isprintable() and letter != "\n"}
    if strange:
        at = min(text.index(letter) for letter in strange)
        raise FaultError(f"{sorted(strange)} were printed: {text[max(at - 100, 0) : at + 100]!r}")
    return code, text
