"""The values of a run by the names that all trackers give them (``docs/trackers.md``)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tutelage.config.describe import leaves
from tutelage.config.overrides import at
from tutelage.config.yaml_reader import load_yaml
from tutelage.run.events import EpochDone, Evaluated, Finished, StepDone
from tutelage.run.teaching_cost import read_teaching_cost


def step_values(event: StepDone) -> dict[str, float]:
    """Return losses and learning rate of a step; reading them waits for the device."""
    values = {"lr": event.lr, **_losses({**event.losses.detection, **event.losses.distillation})}
    if event.kd_share is not None:
        values["kd_share"] = event.kd_share
    return _finite({f"step/{name}": float(value) for name, value in values.items()})


def epoch_values(event: EpochDone) -> dict[str, float]:
    """Return means of the losses, learning rate, KD weights and ratios, cost of the teachers."""
    values = {**_losses(event.losses), "lr": event.lr, "seconds": event.seconds}
    values |= _named("kd_weight", event.kd_weights)
    values |= _named("kd_factor", event.kd_factors)
    values |= _named("kd_ratio", event.kd_ratios)
    if event.teaching:
        teaching = {name.removeprefix("teacher_"): x for name, x in event.teaching.items()}
        values |= _named("teacher", teaching)
        cost = read_teaching_cost([{**event.teaching, "seconds": event.seconds, "kd": {}}])
        values["teacher/share"] = cost.share if cost else 0.0
    return _finite(values)


def evaluation_values(event: Evaluated) -> dict[str, float]:
    """Return the scores on the val split: ``val/AP``."""
    return _finite(_named("val", event.scores))


def final_values(event: Finished) -> dict[str, float]:
    """Return the best scores, their epoch counted from 1, and what the run cost."""
    values = {**_named("best", event.best), "total/seconds": event.seconds}
    if event.best_epoch >= 0:
        values["best/epoch"] = event.best_epoch + 1
    for name in ("teacher", "extra"):
        if name in event.teaching:
            values[f"total/{name}_seconds"] = event.teaching[name]
    if "share" in event.teaching:
        values["total/teacher_share"] = event.teaching["share"]
    return _finite(values)


def settings_of(folder: Path) -> dict[str, Any]:
    """Return the settings of a run by dotted name, lists as JSON; none of a comparison."""
    path = folder / "config.yaml"
    if not path.exists():
        return {}
    values = load_yaml(path.read_text(encoding="utf-8"))
    flat = {key: at(values, key) for key in leaves()}
    return {
        key: json.dumps(value) if isinstance(value, list | dict) else _plain(value)
        for key, value in flat.items()
    }


def _plain(value: Any) -> Any:
    return "none" if value is None else value


def _losses(losses: Mapping[str, Any]) -> dict[str, Any]:
    """Name losses: ``loss/box``, and those of methods ``kd/fgd/foreground``."""
    return {f"{'kd' if '/' in name else 'loss'}/{name}": value for name, value in losses.items()}


def _named(group: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{group}/{name}": value for name, value in values.items()}


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    """Leave out what is undefined, such as AP of large objects where there are none."""
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}
