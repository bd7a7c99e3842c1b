"""What a report knows of finished runs: their files, read without opening data or networks."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tutelage.comparison.stored import RESULT
from tutelage.config.load import load_config
from tutelage.config.run_paths import ENVIRONMENT
from tutelage.config.schema import Config
from tutelage.errors import ConfigError, UserError
from tutelage.run.teaching_cost import read_rows
from tutelage.setup.named_code import names_of_code

SETTINGS, METRICS, SCORES, TEACHER = "config.yaml", "metrics.jsonl", "scores.json", "teacher.json"
_SEED = re.compile(r"-s\d+$")  # of the run folders of a comparison


class RunFiles(NamedTuple):
    """The files of one run folder.

    Attributes:
        name: The name of the run in the report.
        folder: Its folder.
        config: Its settings.
        settings: The text of its ``config.yaml``, which says where each setting came from.
        rows: Of ``metrics.jsonl``, one per epoch.
        scores: Of the best epoch on val; empty if it was never evaluated.
        teachers: What is recorded of each teacher.
        environment: Of ``environment.txt``.
        code: What its settings name that Python would have to import, and may not.
    """

    name: str
    folder: Path
    config: Config
    settings: str
    rows: list[dict[str, Any]]
    scores: Mapping[str, Any]
    teachers: tuple[Mapping[str, Any], ...]
    environment: Mapping[str, str]
    code: tuple[str, ...] = ()

    @property
    def evaluated(self) -> list[tuple[int, float]]:
        """The epochs that were evaluated, counted from 1, with their AP in 0..1."""
        return [
            (int(row["epoch"]), float(row["AP"])) for row in self.rows if row.get("AP") is not None
        ]


def find_runs(
    folders: Sequence[str | os.PathLike[str]], allowed: Collection[str] = ()
) -> tuple[RunFiles, ...]:
    """Return the runs of folders of runs and of comparisons, in the order given.

    Of a comparison the runs without a teacher come first.

    Args:
        folders: The folders.
        allowed: Code that may be imported, as ``my_kd:Mine``.

    Raises:
        ConfigError: A folder is neither.
    """
    found: list[Path] = []
    for folder in map(Path, folders):
        if (folder / SETTINGS).is_file():
            found.append(folder)
        elif (folder / RESULT).is_file():
            inside = sorted(path.parent for path in folder.glob(f"*/{SETTINGS}"))
            found += sorted(inside, key=lambda run: not run.name.startswith("baseline-"))
        else:
            raise _no_run(folder)
    unique = list(dict.fromkeys(folder.resolve() for folder in found))
    if not unique:
        what = f"{', '.join(map(str, folders))}: no run is in there."
        raise ConfigError(what, fix="Train first:  tutelage train --data data.yaml", code="C36")
    names = [folder.name for folder in unique]
    return tuple(
        read_run(folder, folder.name if names.count(folder.name) == 1 else _longer(folder), allowed)
        for folder in unique
    )


def read_run(folder: Path, name: str | None = None, allowed: Collection[str] = ()) -> RunFiles:
    """Return what a run folder holds; what is missing or cannot be read is empty.

    Raises:
        ConfigError: It is no run folder, or its settings cannot be read.
    """
    path = folder / SETTINGS
    if not path.is_file():
        raise _no_run(folder)
    config = load_config(config_file=path).config
    scores = _json(folder / SCORES)
    teachers = _json(folder / TEACHER)
    return RunFiles(
        name or folder.name,
        folder,
        config,
        path.read_text(encoding="utf-8", errors="replace"),
        [row for row in read_rows(folder / METRICS) if isinstance(row.get("epoch"), int)],
        scores if isinstance(scores, dict) else {},
        tuple(teachers) if isinstance(teachers, list) else (teachers,) if teachers else (),
        _environment(folder / ENVIRONMENT),
        tuple(name for name in names_of_code(config) if name not in allowed),
    )


def same_but_for_seed(a: Config, b: Config) -> bool:
    """Return whether two runs differ in nothing but their seed and folder."""

    def rest(config: Config) -> dict[str, Any]:
        values = config.model_dump(mode="json", exclude={"run"})
        values["train"].pop("seed")
        return values

    return rest(a) == rest(b)


def without_seed(name: str) -> str:
    """Return the name of a run of a comparison without its seed."""
    return _SEED.sub("", name)


def _no_run(folder: Path) -> UserError:
    what = "does not exist" if not folder.exists() else "is neither a run nor a comparison"
    return ConfigError(
        f"{folder} {what}: it has no {SETTINGS}.",
        fix="Give run folders, for example  tutelage report runs/baseline runs/distilled",
        code="C36",
    )


def _longer(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _environment(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return {key: value for key, _, value in (line.partition(": ") for line in lines) if value}
