"""Whether a run can go on: something is left to do, and its teachers are the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tutelage.config.differ import differing
from tutelage.config.schema import Config
from tutelage.errors import ConfigError, TeacherError, WeightsError
from tutelage.train.assemble import Parts
from tutelage.train.observers import Best


def nothing_left(saved: Mapping[str, Any], config: Config) -> str:
    """Return why a run has nothing left to do, or an empty text.

    Args:
        saved: Its ``last.pt``.
        config: Its settings.
    """
    done, epochs, patience = saved["position"][0], config.train.epochs, config.train.patience
    best = Best(patience)
    best.epoch = saved["progress"]["best_epoch"]
    if done >= epochs:
        return f"is already finished ({done}/{epochs} epochs)"
    if best.exhausted(done - 1):
        return f"stopped early after {done} of {epochs} epochs: no better AP for {patience}"
    return ""


def check_unfinished(saved: dict[str, Any], config: Config, folder: str) -> None:
    """Refuse to go on with a run that has nothing left to do."""
    why = nothing_left(saved, config)
    if why:
        fix = f"To train on: --weights {folder}/best.safetensors --epochs 50"
        raise ConfigError(f"{folder} {why}.", fix=fix, code="R16")


def check_settings(saved: Mapping[str, Any], config: Config, path: Path) -> None:
    """Refuse a ``last.pt`` that was written with other settings: two runs used one folder.

    Raises:
        WeightsError: It was.
    """
    before = Config.model_validate(yaml.safe_load(saved["config"]))
    other = [each.key for each in differing(before, config, free=("run", "preset"))]
    if other:
        raise WeightsError(
            f"{path} does not fit the config.yaml beside it ({', '.join(other)}): "
            "they are of different runs.",
            fix=f"Start a new run from its weights: --weights {path.with_name('best.safetensors')}",
            code="W25",
        )


def records(parts: Parts) -> tuple[dict[str, Any], ...]:
    """Return what is known of each teacher."""
    return parts.teaching.records if parts.teaching else ()


def identity(record: Mapping[str, Any]) -> str:
    """Return what tells a teacher from another: the hash of its file, or its name elsewhere."""
    return str(record.get("sha256", record["source"]))


def check_teachers(
    progress: Mapping[str, Any], records: Sequence[Mapping[str, Any]], folder: str
) -> None:
    """Refuse to go on with other teachers than before."""
    began = progress.get("teachers", ())  # runs of the first versions do not say
    for record, before in zip(records, began, strict=False):
        if identity(record) != before:
            raise TeacherError(
                f"The teacher {record['source']} is not the one with which {folder} began.",
                where=f"sha256 {identity(record)[:12]}…, before {before[:12]}…",
                fix=f"Put that file back, or start anew: --weights {folder}/best.safetensors",
                code="T31",
            )
