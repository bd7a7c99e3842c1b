"""Relative paths in the ``config.yaml`` of a run folder are those of where the run was started.

``environment.txt`` beside it records that directory, so that a run folder means the same data and
teachers from everywhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tutelage.config.schema import Config

ENVIRONMENT, DIRECTORY = "environment.txt", "directory"
PATHS = ("data", "model.arch", "model.weights", "distill.teacher", "distill.images")
_NAMES = re.compile(r"digits(:\w+)?|[^/\\]+@[\d.]+")  # what is built in, not a file


def started_in(settings: str | Path) -> Path | None:
    """Return the directory in which the run of a ``config.yaml`` was started; None if unknown."""
    try:
        lines = Path(settings).with_name(ENVIRONMENT).read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return None
    rows = (line.partition(": ") for line in lines)
    return next((Path(value) for key, _, value in rows if key == DIRECTORY and value), None)


def locate(value: Any, directory: Path) -> Any:
    """Return a path, or a list of them, of a run that was started in ``directory``.

    What is a name, absolute, or the same file from here stays as it is, and so does what is not
    there.
    """

    def from_there(name: str) -> str:
        there = Path(os.path.normpath(directory / name))
        here = Path(name)
        if not there.exists() or (here.exists() and here.samefile(there)):
            return name
        return str(there)

    return _each(value, from_there)


def with_absolute_paths(config: Config) -> Config:
    """Return settings whose paths mean the same from everywhere."""
    values = config.model_dump(mode="json")
    for key in PATHS:
        *sections, name = key.split(".")
        group = values[sections[0]] if sections else values
        group[name] = _each(group[name], _absolute_if_there)
    return Config.model_validate(values)


def _absolute_if_there(name: str) -> str:
    return os.path.abspath(name) if Path(name).exists() else name  # noqa: PTH100  (no symlinks)


def _each(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, list):
        return [_each(item, change) for item in value]
    if not isinstance(value, str) or not value or ":" in value or value.startswith("~"):
        return value
    if Path(value).is_absolute() or _NAMES.fullmatch(value):
        return value
    return change(value)
