"""The run folder: never overwritten, every file readable by another tool."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from tutelage.errors import ConfigError, TrainingError
from tutelage.plain import plain
from tutelage.train.plan import Position
from tutelage.weights.store import atomic_write_text

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
    """``metrics.jsonl``: one line per epoch, appended."""

    def __init__(self, path: Path, *, keep_epochs: int = 0) -> None:
        self._path = path
        kept = path.read_text().splitlines()[:keep_epochs] if keep_epochs and path.exists() else []
        atomic_write_text(path, "".join(f"{line}\n" for line in kept))

    def append(self, row: Mapping[str, Any]) -> None:
        """Append one line; what is undefined (NaN) becomes null, so that any reader can take it."""
        with self._path.open("a") as file:
            file.write(json.dumps(plain(row)) + "\n")
