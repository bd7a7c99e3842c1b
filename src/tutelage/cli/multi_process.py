"""``--devices N``: the same command line in N processes, supervised by torchrun's agent."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import uuid
from collections.abc import Sequence
from typing import NoReturn

from tutelage.display.console import ANNOUNCED, Display
from tutelage.errors import ConfigError
from tutelage.run.events import Stage

FLAG = "--devices"
GRACE = 50  # seconds for processes to save and end after a signal or the end of one of them
WAIT = 10.0  # seconds that a process waits for the first one to report an error of both
INTERRUPTED = 130


def launched() -> bool:
    """Whether a launcher (torchrun, accelerate) has started this process."""
    return "WORLD_SIZE" in os.environ


def launch(given: str, argv: Sequence[str], display: Display) -> NoReturn:
    """Run the same command line in ``given`` processes, then exit.

    The exit status is that of the first process that failed.

    Args:
        given: The value of ``--devices``.
        argv: The command line.
        display: Shows that they start.

    Raises:
        ConfigError: ``given`` is not a number of processes.
    """
    if not given.isdecimal() or not int(given):
        raise ConfigError(
            f"{FLAG} {given} is not a number of processes.", fix=f"{FLAG} 2", code="C25"
        )
    count = int(given)
    display.show(Stage(f"starting {count} processes"))
    display.close()
    os.environ[ANNOUNCED] = "1"
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable(logging.ERROR)  # its tracebacks; failures are reported below
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    os.environ.setdefault("OMP_NUM_THREADS", str(max((cores or 1) // count, 1)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        shutdown_timeout=GRACE,
    )
    sys.stdout.flush()
    try:
        elastic_launch(config, sys.executable)("-m", "tutelage", *without(argv))
    except SignalException:
        sys.exit(INTERRUPTED)
    except ChildFailedError as failed:
        number, failure = failed.get_first_failure()
        if failure.exitcode < 0:
            name = signal.Signals(-failure.exitcode).name
            why = " (often because the system is short of memory)" if name == "SIGKILL" else ""
            print(f"Process {number} of this run was ended by {name}{why}.", file=sys.stderr)
        sys.exit(failure.exitcode if failure.exitcode > 0 else 1)
    sys.exit(0)


def reported_elsewhere(exit_code: int) -> bool:
    """Whether the first process of this machine reports the error, so that this one need not.

    An error in all processes is reported once: the launcher ends the others while they wait
    here. An error in this process alone is reported after the wait.

    Args:
        exit_code: Exit status of this process.
    """
    if os.environ.get("LOCAL_RANK", os.environ.get("RANK", "0")) == "0":
        return False
    if exit_code == INTERRUPTED:
        return True
    try:
        time.sleep(WAIT)
    except KeyboardInterrupt:
        return True
    return False


def without(argv: Sequence[str]) -> list[str]:
    """Return a command line without ``--devices`` and its value."""
    kept: list[str] = []
    skip = False
    for word in argv:
        if not skip and word != FLAG and not word.startswith(f"{FLAG}="):
            kept.append(word)
        skip = word == FLAG
    return kept
