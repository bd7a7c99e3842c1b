"""Weights & Biases, online or offline as the environment of the user says."""

from __future__ import annotations

import io
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb
from PIL import Image

from tutelage.errors import ConfigError
from tutelage.trackers.tracker import PROJECT, Ending, TrackedRun

PATIENCE = 30  # seconds for uploads at the end; what is left stays on disk for `wandb sync`
EXIT_CODE: Mapping[Ending, int] = {"finished": 0, "stopped": 255, "failed": 1}
NOTHING_UNASKED: Mapping[str, Any] = {
    "console": "off",  # else what the process prints
    "disable_code": True,
    "disable_git": True,
    "save_code": False,
    "disable_job_creation": True,
    "host": "",
    "x_disable_meta": True,  # user, command line, paths
    "x_disable_machine_info": True,
    "x_disable_stats": True,  # load of CPU, GPU, network
    "x_save_requirements": False,  # installed packages
}
EPOCHS = ("loss", "kd", "kd_weight", "kd_factor", "kd_ratio", "val", "teacher", "best", "total")
AXES = {  # what is drawn over which value; no "*", which might be chosen before "step/*"
    "epoch": ("lr", "seconds", "samples/*", *(f"{group}/*" for group in EPOCHS)),
    "step": ("step/*",),
}


class WandB:
    """A run of Weights & Biases beside those that the process itself has open."""

    def __init__(self) -> None:
        self._run: Any = None

    def start(self, run: TrackedRun, stored: Mapping[str, str]) -> Mapping[str, str]:
        """Begin a run, or go on with the one of this id."""
        identity = stored or {"id": secrets.token_hex(4)}
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            id=identity["id"],
            name=run.name,
            group=run.group or None,
            config=dict(run.settings),
            resume="allow",
            dir=os.environ.get("WANDB_DIR") or Path.cwd(),  # not that of an earlier run
            settings=wandb.Settings(
                silent=True, reinit="create_new", finish_timeout=PATIENCE, **NOTHING_UNASKED
            ),
        )
        for axis, names in AXES.items():
            self._run.define_metric(axis, hidden=True)
            for name in names:
                self._run.define_metric(name, step_metric=axis)
        return identity

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log values over an axis of their own: W&B drops what comes at an earlier step again."""
        axis = "step" if any(name.startswith("step/") for name in values) else "epoch"
        self._run.log({**values, axis: step})

    def log_images(self, images: Mapping[str, bytes], epoch: int) -> None:
        """Log images."""
        pictures = {
            name: wandb.Image(Image.open(io.BytesIO(jpeg)), file_type="jpg")
            for name, jpeg in images.items()
        }
        self._run.log({**pictures, "epoch": epoch})

    def log_file(self, path: Path) -> None:
        """Log an artifact."""
        name = re.sub(r"[^\w.-]", "-", f"{self._run.name}-{path.stem}")
        artifact = wandb.Artifact(name, type=path.stem)
        artifact.add_file(str(path))
        self._run.log_artifact(artifact)

    def finish(self, ending: Ending) -> None:
        """Upload what is left, as long as that takes no longer than ``PATIENCE``."""
        self._run.finish(exit_code=EXIT_CODE[ending])


def check_credentials() -> None:
    """Check that W&B will not ask for an API key in the middle of a run.

    Raises:
        ConfigError: It would.
    """
    mode = os.environ.get("WANDB_MODE") or wandb.setup().settings.mode
    if mode not in ("online", "run", "shared") or wandb.api.api_key:
        return
    raise ConfigError(
        "W&B has no API key.",
        where="--track wandb",
        fix="wandb login, or to keep everything on this machine:  export WANDB_MODE=offline",
        code="C39",
    )
