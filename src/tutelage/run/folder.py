"""The run folder: its name, its lock, and its text files."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import yaml

from tutelage.config.run_paths import DIRECTORY, started_in, with_absolute_paths
from tutelage.config.schema import Config
from tutelage.errors import ConfigError, TrainingError
from tutelage.files import atomic_write_text
from tutelage.setup.build import RunParts
from tutelage.setup.distributed import from_main_process
from tutelage.training.schedule import Position

LOCK_WAIT = 10.0  # seconds
DRY = "-dry-run"  # after the name of a folder
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
    number = 0
    while True:
        number += 1
        suffix = "" if name is not None and number == 1 else f"-{number:02d}"
        folder = project / f"{default if name is None else name}{suffix}"
        try:
            folder.mkdir(parents=True, exist_ok=exist_ok and name is not None)
        except FileExistsError:
            continue
        except OSError as error:
            raise ConfigError(
                f"The run folder {folder} cannot be made: {error.strerror}.",
                fix="Choose another --project.",
                code="C29",
            ) from error
        return folder


def new_run_folder(parts: RunParts, *, dry_run: bool = False) -> Path:
    """Make the run folder on the main process and return it on all.

    Args:
        parts: The parts of the run.
        dry_run: Use one folder, ``NAME-dry-run``, again and again.

    Raises:
        ConfigError: It cannot be made; raised on all processes.
    """
    run, data = parts.config.run, Path(str(parts.config.data)).stem.replace(":", "-")
    methods = "-".join(parts.unwrapped_task.methods) if parts.distillation else ""
    words = (data, parts.student.arch_name.replace("@", "-"), methods)
    default = "-".join(word for word in words if word)
    name = f"{run.name or default}{DRY}" if dry_run else run.name
    return from_main_process(
        parts.accelerator,
        lambda: make_run_folder(Path(run.project), name, default, exist_ok=run.exist_ok or dry_run),
    )


def name_taken(config: Config, folder: Path) -> str:
    """Return that a run is not in the folder of its ``--name``, which exists; empty if it is."""
    wanted = Path(config.run.project) / (config.run.name or folder.name)
    if folder in (wanted, wanted.with_name(wanted.name + DRY)):
        return ""
    return (
        f"{wanted} exists and stays that of an earlier run: this run is in {folder}. "
        "To write over it:  --exist-ok"
    )


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as json, atomically."""
    atomic_write_text(path, json.dumps(content, indent=1) + "\n")


def write_error(error: OSError, folder: Path, saved: Position | None) -> TrainingError:
    """Return the error of a run whose files cannot be written; ``saved`` is in its ``last.pt``."""
    if not folder.is_dir():
        return TrainingError(
            f"The run folder {folder} is gone; nothing more can be saved there.", code="R23"
        )
    kept = f"Its last.pt is whole, from {saved.in_words()}." if saved else "Nothing was saved yet."
    resume = f", then  tutelage train --resume {folder}" if saved else ""
    return TrainingError(
        f"{error.filename or folder} cannot be written: {error.strerror or error}. {kept}",
        fix=f"Make room, or make it writable{resume}",
        code="R23",
    )


def describe_environment(command_line: str) -> str:
    """Return versions, machine, git commit, the command line and its directory as text."""
    rows = {
        "command": command_line,
        DIRECTORY: str(Path.cwd()),
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


def settings_for(folder: Path, config: Config) -> Config:
    """Return the settings to store in a folder: paths are absolute if its run began elsewhere."""
    began = started_in(folder / "config.yaml")
    return config if began in (None, Path.cwd()) else with_absolute_paths(config)


def write_settings(path: Path, text: str, *, resumed: bool) -> None:
    """Write ``config.yaml``; a resumed run keeps its own unless its data or teachers have moved."""
    if not resumed or yaml.safe_load(path.read_text()) != yaml.safe_load(text):
        atomic_write_text(path, text)


def remove_temporary_files(folder: Path) -> None:
    """Remove files that killed processes left half written."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


@contextmanager
def lock_folder(folder: Path, *, writes: bool = True) -> Iterator[None]:
    """Keep other runs out of a folder until this process leaves the context or dies.

    Does nothing where the system cannot lock files.

    Args:
        folder: The run folder.
        writes: Whether this process writes there; others need no lock.

    Raises:
        ConfigError: Another run is writing there.
    """
    if not writes or sys.platform == "win32":
        yield
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # reported at the first write
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
    deadline = time.monotonic() + LOCK_WAIT
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
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
