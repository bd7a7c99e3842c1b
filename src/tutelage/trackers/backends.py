"""The trackers by name. Their packages are imported when a run asks for them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import ModuleType

from tutelage.optional_packages import require
from tutelage.trackers.tracker import Tracker

CLASSES = {"tensorboard": "TensorBoard", "mlflow": "MLflow", "wandb": "WandB", "trackio": "Trackio"}
ENVIRONMENT: Mapping[str, Mapping[str, str]] = {  # unless the user has set it
    "mlflow": {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"},
    "wandb": {"WANDB_ERROR_REPORTING": "false"},  # to its makers
}


def check_trackers(names: Sequence[str]) -> None:
    """Check before anything is trained that trackers can be used.

    Raises:
        MissingExtraError: A package is not installed.
        ConfigError: W&B has no API key.
    """
    require(*names)
    if "wandb" in names:
        _module("wandb").check_credentials()


def make_trackers(names: Sequence[str]) -> dict[str, Tracker]:
    """Return the trackers of a run by name, checked; imports their packages."""
    check_trackers(names)
    return {name: getattr(_module(name), CLASSES[name])() for name in names}


def _module(name: str) -> ModuleType:
    """Import the module of a tracker; its package reads the environment when it is imported."""
    for variable, value in ENVIRONMENT.get(name, {}).items():
        os.environ.setdefault(variable, value)
    return import_module(f"tutelage.trackers.{name}")
