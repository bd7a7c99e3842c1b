"""The run folder: never overwritten, every file readable by another tool."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import torch
import yaml
from accelerate.utils import broadcast_object_list

from tutelage.errors import ConfigError, TrainingError
from tutelage.sanitise import json_values
from tutelage.setup.build import RunParts
from tutelage.train.schedule import Position
from tutelage.weights.store import atomic_write_text

ORPHANS = 10.0  # seconds
PACKAGES = (
    "tutelage",
    "torch",
    "torchvision",
    "accelerate",
    "numpy",
    "opencv-python-headless",
    "hotcoco",
)


def make_run_folder(
    project: Path, name: str | None, default: str, *, exist_ok: bool = False
) -> Path:
    """Make and return a new folder below ``project``.

    Args:
        project: The parent folder.
        name: The folder's name; taken names get ``-02``, ``-03``, …
        default: Without ``name``: ``<default>-01``, ``-02``, …
        exist_ok: Use an existing folder of that name.

    Raises:
        ConfigError: The folder cannot be written.
    """
    number = 1
    while True:
        if name is None:
            folder = project / f"{default}-{number:02d}"
        else:
            folder = project / (name if number == 1 else f"{name}-{number:02d}")
        try:
            folder.mkdir(parents=True, exist_ok=exist_ok and name is not None)
        except FileExistsError:
            number += 1
            continue
        except OSError as error:
            raise ConfigError(
                f"The run folder {folder} cannot be made: {error.strerror}.",
                fix="Choose another --project.",
                code="C29",
            ) from error
        return folder


def new_folder(parts: RunParts, *, reuse: bool) -> Path:
    """Make the run folder, one for all processes.

    Args:
        parts: The parts of the run.
        reuse: Allows one that exists, if the settings do.

    Raises:
        ConfigError: It cannot be made; raised on all processes.
    """
    config = parts.config
    data = Path(str(config.data)).stem.replace(":", "-")
    method = "-".join(parts.bare.methods) if parts.teaching else ""
    words = (data, parts.student.arch_name.replace("@", "-"), method)
    default = "-".join(word for word in words if word)
    run = config.run
    told: list[Path | ConfigError | None] = [None]
    if parts.accelerator.is_main_process:
        try:
            exist_ok = run.exist_ok and reuse
            told = [make_run_folder(Path(run.project), run.name, default, exist_ok=exist_ok)]
        except ConfigError as error:  # the others wait for a word, too
            told = [error]
    broadcast_object_list(told)
    if isinstance(told[0], ConfigError):
        raise told[0]
    return cast("Path", told[0])


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as json, atomically."""
    atomic_write_text(path, json.dumps(content, indent=1) + "\n")


def unwritable(error: OSError, folder: Path, saved: Position | None) -> TrainingError:
    """Return what to tell when a file of a run cannot be written.

    Args:
        error: What the system said.
        folder: The run folder.
        saved: What its ``last.pt`` holds; None: there is none.
    """
    if not folder.is_dir():
        return TrainingError(
            f"The run folder {folder} is gone; nothing more can be saved there.", code="R23"
        )
    kept = f"Its last.pt is whole, from {saved.in_words()}." if saved else "Nothing was saved yet."
    goes_on = f", then  tutelage train --resume {folder}" if saved else ""
    return TrainingError(
        f"{error.filename or folder} cannot be written: {error.strerror or error}. {kept}",
        fix=f"Make room, or make it writable{goes_on}",
        code="R23",
    )


def environment(command_line: str) -> str:
    """Return versions, machine, git commit and the command line as text."""
    rows = {
        "command": command_line,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
    }
    for package in PACKAGES:
        try:
            rows[package] = version(package)
        except PackageNotFoundError:
            rows[package] = "not installed"
    rows["cuda"] = str(torch.version.cuda if torch.cuda.is_available() else "not used")
    if torch.cuda.is_available():
        rows["gpu"] = torch.cuda.get_device_name()
    rows["threads"] = str(torch.get_num_threads())
    rows["git"] = _git_commit()
    return "".join(f"{key}: {value}\n" for key, value in rows.items())


def _git_commit() -> str:
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603
    except OSError:
        return "git is not installed"
    return done.stdout.strip() or "not in a git repository"


class Metrics:
    """``metrics.jsonl``: one line per epoch, appended.

    Args:
        path: The file.
        keep_epochs: A run that goes on has finished so many; their lines are kept. Others, and
            half a line of a process that was killed, are left out.
    """

    def __init__(self, path: Path, *, keep_epochs: int = 0) -> None:
        self._path = path
        kept = {}
        if keep_epochs and path.exists():
            for line in path.read_text(errors="replace").splitlines():
                epoch = _epoch(line)
                if epoch is not None and epoch < keep_epochs:
                    kept[epoch] = line
        atomic_write_text(path, "".join(f"{kept[epoch]}\n" for epoch in sorted(kept)))

    def append(self, row: Mapping[str, Any]) -> None:
        """Append one line; what is undefined (NaN) becomes null, so that any reader can take it."""
        with self._path.open("a") as file:
            file.write(json.dumps(json_values(row)) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _epoch(line: str) -> int | None:
    try:
        return int(json.loads(line)["epoch"])
    except (ValueError, KeyError, TypeError):
        return None


def write_if_new(path: Path, text: str, *, keep: bool) -> None:
    """Write the settings of a run; one that goes on keeps its own unless its files have moved.

    Args:
        path: Its ``config.yaml``.
        text: All settings, as they are now.
        keep: Whether the run goes on.
    """
    if not keep or yaml.safe_load(path.read_text()) != yaml.safe_load(text):
        atomic_write_text(path, text)


def clear_leftovers(folder: Path) -> None:
    """Remove what processes that were killed had begun to write."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


@contextmanager
def held(folder: Path, *, alone: bool = True) -> Iterator[None]:
    """Keep other runs out of a folder; a process that dies lets go.

    Where the system cannot lock files, nothing is kept out.

    Args:
        folder: The run folder.
        alone: Whether this process is the one that writes.

    Raises:
        ConfigError: Another run is writing there.
    """
    if not alone or sys.platform == "win32":
        yield
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # told when something is written
        yield
        return
    try:
        _lock(handle, folder)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    import fcntl

    # Loader processes inherit the lock; those of a run that was killed end within five seconds.
    until = time.monotonic() + ORPHANS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > until:
                raise ConfigError(
                    f"Another process is training in {folder}.",
                    fix="Wait for it, or stop it first.",
                    code="R29",
                ) from error
            time.sleep(0.2)
        except OSError:  # a file system without locks
            return
        else:
            return
