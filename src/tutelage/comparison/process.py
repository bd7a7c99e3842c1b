"""Train each run of a comparison in a process of its own, so that no run can harm another.

The process works like a generator in this one: it continues when the next event is asked for, and
stops when the generator is closed. Ctrl-C and SIGTERM are passed on to it.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, NoReturn, cast

from tutelage.comparison.arms import ArmRun
from tutelage.comparison.cost import peak_mib, write_cost
from tutelage.errors import TrainingError, UserError
from tutelage.evaluation.device import choose_device
from tutelage.files import atomic_write_text
from tutelage.run.events import Event, Planned, Stage, StepDone
from tutelage.run.interrupt import RunInterrupted, RunKilled
from tutelage.run.run import run_training
from tutelage.structures import Losses
from tutelage.trackers import with_trackers
from tutelage.training.schedule import Position

INTERVAL = 0.25  # seconds between two steps that are reported: reading losses waits for the GPU
SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SPAWN = multiprocessing.get_context("spawn")
_MASKS = hasattr(signal, "pthread_sigmask")  # not on Windows


class _Stopped(NamedTuple):
    """The run was stopped by a signal; ``position``: where it continues, if it was saved."""

    by: signal.Signals
    position: Position | None


def train_in_process(
    run: ArmRun, *, origins: Mapping[str, str], resume: bool = False, command_line: str = ""
) -> Iterator[Event]:
    """Train a run in a new process, and write its cost.

    Args:
        run: The run.
        origins: Where each setting came from.
        resume: Continue the run in its folder.
        command_line: For ``environment.txt``.

    Yields:
        The events of the run; of the steps at most four a second, their losses as floats.

    Raises:
        UserError: The run failed. The traceback of a bug is in its ``crash.txt``.
        RunKilled: It was stopped by Ctrl-C or SIGTERM.
    """
    ours, theirs = cast("tuple[Connection, Connection]", _SPAWN.Pipe())
    folder = str(run.folder) if resume else None
    call = {"origins": origins, "command_line": command_line, "resume": folder}
    level = logging.getLogger("tutelage").getEffectiveLevel()
    process = _SPAWN.Process(target=_serve, args=(theirs, run, call, level))
    with _started(process, ours):
        theirs.close()
        yield Stage("starting the run")
        try:
            while (answer := ours.recv()) is not None:
                if isinstance(answer, UserError):
                    raise answer
                if isinstance(answer, _Stopped):
                    by, position = answer
                    raise RunKilled(by) if position is None else RunInterrupted(position, by)
                yield answer
                ours.send(None)
        except (EOFError, OSError):
            process.join()
            raise TrainingError(_ending(process.exitcode)) from None


def crash_message(folder: Path, error: Exception) -> str:
    """Write the traceback of a bug into ``crash.txt``; return the error in a line."""
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write_text(folder / "crash.txt", "".join(traceback.format_exception(error)))
    return f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def _started(process: SpawnProcess, pipe: Connection) -> Iterator[None]:
    """Start a process, pass signals on to it, and at the end close the pipe and wait for it."""

    def forward(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid or 0, number)

    before: dict[int, Any] = {}
    resource_tracker.ensure_running()  # it would unblock the signals
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS) if _MASKS else None
    try:
        process.start()  # with the signals blocked until it can handle them
        if threading.current_thread() is threading.main_thread():
            before = {number: signal.signal(number, forward) for number in SIGNALS}
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    atexit.register(pipe.close)  # before multiprocessing waits for the process
    try:
        yield
    finally:
        pipe.close()
        process.join()
        atexit.unregister(pipe.close)
        for number, handler in before.items():
            signal.signal(number, handler)


def _ending(code: int | None) -> str:
    """Return how a process ended that sent no result."""
    if code is None or code >= 0:
        return f"The process of the run ended with status {code}."
    name = signal.Signals(-code).name
    why = " (often because the system is short of memory)" if name == "SIGKILL" else ""
    return f"The process of the run was ended by {name}{why}."


# --- in the new process --------------------------------------------------------------------


def _serve(pipe: Connection, run: ArmRun, call: Mapping[str, Any], level: int) -> None:
    """Train a run, and send its events and at last None or what stopped it."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("tutelage").setLevel(level)
    warnings.filterwarnings("ignore", module=r"PIL\.")  # messages without the image's name
    answer: UserError | _Stopped | None = None
    try:
        for number in SIGNALS:
            signal.signal(number, _stop)
        if _MASKS:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        _train(pipe, run, call)
    except RunKilled as stop:
        answer = _Stopped(stop.by, stop.position if isinstance(stop, RunInterrupted) else None)
    except UserError as error:
        answer = error
    except Exception as error:
        answer = TrainingError(crash_message(run.folder, error))
    with contextlib.suppress(OSError):
        pipe.send(answer)


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    """Stop at the first signal; a terminal sends Ctrl-C to both processes."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise RunKilled(signal.Signals(number))


def _train(pipe: Connection, run: ArmRun, call: Mapping[str, Any]) -> None:
    device, finished, reported = choose_device(run.config.train.device), False, 0.0
    stores: tuple[str, ...] = ()
    try:
        events = with_trackers(
            run_training(run.config, **call),
            run.config,
            resumed=call["resume"] is not None,
            group=run.folder.parent.name,
        )
        with contextlib.closing(events):
            for event in events:
                if isinstance(event, Planned):
                    stores = event.stores
                if isinstance(event, StepDone):
                    if time.monotonic() - reported < INTERVAL:
                        continue
                    reported = time.monotonic()
                    event = event._replace(losses=_as_floats(event.losses))
                _send(pipe, event)
        finished = True
    finally:
        if run.folder.exists():
            peak = peak_mib(device)
            write_cost(run.folder, device, finished=finished, peak=peak, stores=stores)


def _as_floats(losses: Losses) -> Losses:
    groups = ({name: float(value) for name, value in group.items()} for group in losses)
    return Losses(*groups)  # pyright: ignore[reportArgumentType]


def _send(pipe: Connection, event: Event) -> None:
    """Send an event and wait until the next one is asked for; end if that will not happen."""
    try:
        pipe.send(event)
        pipe.recv()
    except (EOFError, OSError):
        sys.exit()
