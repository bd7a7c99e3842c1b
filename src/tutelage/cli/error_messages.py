"""Messages for exceptions: what, where, fix; a traceback only with ``--debug``."""

from __future__ import annotations

import errno
import json
import os
import platform
import shlex
import tempfile
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from textwrap import indent
from typing import ClassVar, NamedTuple

from rich.console import Console
from rich.text import Text

from tutelage.cli.multi_process import reported_elsewhere
from tutelage.cli.yolo_flags import COMMANDS
from tutelage.errors import UserError, is_out_of_memory, loader_error, nearest
from tutelage.sanitise import hide_credentials, printable_lines

CRASH_FILE = "tutelage-crash.txt"
PACKAGES = {"cv2": "opencv-python-headless", "sklearn": "'tutelage[demo]'", "yaml": "PyYAML"}
# messages of gloo and NCCL when the other end of a connection is closed
CLOSED_CONNECTION = (
    "connection closed by peer",
    "connection reset by peer",
    "broken pipe",
    "remote process exited",
)


class RunError(Exception):
    """An unexpected error inside a run; the cause is chained.

    Args:
        folder: The run folder.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        super().__init__(folder)


class Interrupted(UserError):
    """The user stopped a run."""

    exit_code: ClassVar[int] = 130
    code = "R15"


class ErrorMessage(NamedTuple):
    """The message that the screen shows for an exception."""

    what: str
    where: str = ""
    fix: str = ""
    exit_code: int = 1
    unforeseen: bool = False
    code: str = "F00"


def report(
    error: BaseException, argv: Sequence[str], *, debug: bool = False, as_json: bool = False
) -> int:
    """Show an exception on stderr (with ``--json`` also as an object on stdout).

    Args:
        error: The exception.
        argv: The command line, for the crash file.
        debug: Show the traceback too.
        as_json: Print ``{"event": "error", ...}`` on stdout.

    Returns:
        The exit code.
    """
    folder = ""
    if isinstance(error, RunError) and error.__cause__ is not None:
        folder, error = error.folder, error.__cause__
    problem = describe_error(error, command=argv[0] if argv else "", folder=folder)
    if reported_elsewhere(problem.exit_code):
        return problem.exit_code
    if problem.unforeseen:
        path = _write_crash(error, argv, folder)
        problem = problem._replace(fix=f"{problem.fix} The traceback is in {path}.".strip())
    if as_json:
        print(json.dumps({"event": "error", **problem._asdict()}), flush=True)
    _show(problem, debug=debug, error=error)
    return problem.exit_code


def describe_error(error: BaseException, *, command: str = "", folder: str = "") -> ErrorMessage:
    """Return the message for an exception.

    Args:
        error: The exception.
        command: The command that failed, for its ``--help``.
        folder: The folder of the run that ended.
    """
    error = loader_error(error) or error
    if isinstance(error, UserError):
        what, where, fix = map(printable_lines, (error.what, error.where, error.fix))
        return ErrorMessage(what, where, fix, error.exit_code, code=error.code)
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        return ErrorMessage("Stopped by Ctrl-C.", exit_code=Interrupted.exit_code, code="R15")
    usage = getattr(error, "format_message", None)
    if usage is not None:
        return _usage(error, str(usage()), command)
    if is_out_of_memory(error):
        fix = "Try a smaller --batch-size or --img-size, or fewer --workers."
        return ErrorMessage("Memory ran out.", fix=fix, unforeseen=True, code="R13")
    if isinstance(error, OSError) and error.errno is not None:
        return _system(error)
    if isinstance(error, RuntimeError) and any(
        words in str(error).lower() for words in CLOSED_CONNECTION
    ):
        return ErrorMessage(
            "Another process of this run has ended, and this one cannot continue alone.",
            fix="See its own message. To continue from the last save, restart all of them with  "
            f"tutelage train --resume {folder or '<run>'}",
            code="R24",
        )
    if (
        isinstance(error, ModuleNotFoundError)
        and error.name
        and not error.name.startswith("tutelage")
    ):
        package = error.name.partition(".")[0]
        return ErrorMessage(
            f"The package {package} is not installed.",
            fix=f"pip install {PACKAGES.get(package, package)}",
            exit_code=5,
            code="E19",
        )
    what = f"Unexpected error: {type(error).__name__}: {error}".rstrip(": ")
    return ErrorMessage(what, fix="This is a bug in tutelage; please report it.", unforeseen=True)


def _usage(error: BaseException, text: str, called: str) -> ErrorMessage:
    """Return the message for a command line that typer cannot parse."""
    context = getattr(error, "ctx", None)
    name = called if called.isidentifier() else ""
    command = context.command_path if context is not None else f"tutelage {name}".strip()
    text = text.replace("Value error, ", "")  # prefix of pydantic
    unknown = getattr(error, "option_name", None)
    hint = ""
    if context is not None and unknown and hasattr(error, "possibilities"):
        known = [option for parameter in context.command.params for option in parameter.opts]
        known += COMMANDS.get(context.info_name or "", {})  # flags of YOLOv7 and YOLOv5
        text, hint = f"There is no option {unknown}.", nearest(unknown, known)
    fix = f"{hint} See  {command} --help".strip()
    return ErrorMessage(text, fix=fix, exit_code=2, code="C22")


def _system(error: OSError) -> ErrorMessage:
    name = f": {error.filename}" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return ErrorMessage(
            f"The disk is full{name}.",
            fix="Free disk space, then continue with  tutelage train --resume",
            unforeseen=True,
            code="R23",
        )
    return ErrorMessage(f"{error.strerror or error}{name}.", unforeseen=True, code="R28")


def _write_crash(error: BaseException, argv: Sequence[str], folder: str) -> Path:
    text = "".join(traceback.format_exception(error))
    command = shlex.join(map(hide_credentials, argv))
    facts = f"{_versions()}\n$ tutelage {command}\n\n"
    rank = os.environ.get("RANK", "0")
    name = "crash.txt" if rank == "0" else f"crash-{rank}.txt"  # one per process
    places = [Path(folder) / name] if folder else []
    for path in [*places, Path(CRASH_FILE), Path(tempfile.gettempdir()) / CRASH_FILE]:
        try:
            path.write_text(facts + text, encoding="utf-8")
        except OSError:
            continue
        return path
    return Path("(not written: no writable folder)")


def _versions() -> str:
    versions = [f"python {platform.python_version()} on {platform.platform()}"]
    for package in ("tutelage", "torch", "accelerate", "numpy"):
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"{package} is not installed")
    return " · ".join(versions)


def _show(problem: ErrorMessage, *, debug: bool, error: BaseException) -> None:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if debug:
        console.print(Text("".join(traceback.format_exception(error)), style="dim"))
    head = f"{problem.what.rstrip('.')} ({problem.where})" if problem.where else problem.what
    stopped = problem.exit_code == Interrupted.exit_code
    rank = os.environ.get("RANK", "0")
    who = "" if rank == "0" else f" in process {rank}"
    mark = f"[{problem.code}] " if stopped else f"Error{who} [{problem.code}]: "
    console.print(Text.assemble((mark, "" if stopped else "bold red"), head))
    if problem.fix:
        console.print(Text(indent(problem.fix, "  ")))
