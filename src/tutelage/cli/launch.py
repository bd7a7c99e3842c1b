"""``--devices N``: the same command line in N processes, as torchrun starts them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from tutelage.errors import ConfigError

FLAG = "--devices"


def launched() -> bool:
    """Whether a launcher has started this process as one of several, or of one."""
    return "WORLD_SIZE" in os.environ


def launch(given: str, argv: Sequence[str]) -> NoReturn:
    """Replace this process by torchrun with ``given`` processes of the same command line.

    Raises:
        ConfigError: It is no number of processes.
    """
    if not given.isdecimal() or not int(given):
        raise ConfigError(f"{FLAG} {given} is no number of processes.", fix=f"{FLAG} 2", code="C25")
    count = int(given)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    os.environ.setdefault("OMP_NUM_THREADS", str(max((cores or 1) // count, 1)))
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    command = [sys.executable, *torchrun, "-m", "tutelage", *without(argv)]
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606  (no shell is wanted)


def without(argv: Sequence[str]) -> list[str]:
    """Return a command line without ``--devices`` and its value."""
    kept: list[str] = []
    skip = False
    for word in argv:
        if not skip and word != FLAG and not word.startswith(f"{FLAG}="):
            kept.append(word)
        skip = word == FLAG
    return kept
