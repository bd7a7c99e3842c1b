"""MLflow, through its client: it touches no run that the process itself has open."""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import (
    MAX_ENTITY_KEY_LENGTH,
    MAX_METRICS_PER_BATCH,
    MAX_PARAM_VAL_LENGTH,
    MAX_PARAMS_TAGS_PER_BATCH,
)

from tutelage.trackers.tracker import PROJECT, Ending, TrackedRun

STATUS: Mapping[Ending, str] = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class MLflow:
    """A run of an MLflow server, or of the SQLite file that MLflow uses without one.

    MLflow's own functions add the user's name, the script and the git commit to each run; its
    client adds nothing.
    """

    def __init__(self) -> None:
        self._client: Any = None
        self._id = ""

    def start(self, run: TrackedRun, stored: Mapping[str, str]) -> Mapping[str, str]:
        """Create a run in the experiment, or set one to running again."""
        address = mlflow.get_tracking_uri()
        if not mlflow.is_tracking_uri_set():
            address = stored.get("address", address)  # the file of where the run began
        self._client = mlflow.MlflowClient(address)
        if stored:
            self._id = stored["id"]
            self._client.update_run(self._id, status="RUNNING")
            return stored
        if not self._id:  # else it was created, but not all of this could be sent
            tags = {"group": run.group} if run.group else {}
            made = self._client.create_run(self._experiment(), run_name=run.name, tags=tags)
            self._id = made.info.run_id
        for batch in _batches(_parameters(run.settings), MAX_PARAMS_TAGS_PER_BATCH):
            self._client.log_batch(self._id, params=batch)
        local = {} if mlflow.is_tracking_uri_set() else {"address": address}
        return {"id": self._id, **local}

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log metrics."""
        now = int(1000 * time.time())
        metrics = [Metric(_name(key), value, now, step) for key, value in values.items()]
        for batch in _batches(metrics, MAX_METRICS_PER_BATCH):
            self._client.log_batch(self._id, metrics=batch)

    def log_images(self, images: Mapping[str, bytes], epoch: int) -> None:
        """Log files: ``samples/val_found-3.jpg`` is that of epoch 3."""
        for name, jpeg in images.items():
            place = Path(name)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"{place.name}-{epoch}.jpg"
                path.write_bytes(jpeg)
                self._client.log_artifact(self._id, str(path), str(place.parent))

    def log_file(self, path: Path) -> None:
        """Log an artifact."""
        self._client.log_artifact(self._id, str(path))

    def finish(self, ending: Ending) -> None:
        """Set the status of the run."""
        self._client.set_terminated(self._id, STATUS[ending])

    def _experiment(self) -> str:
        """Return the id of the experiment that the environment names, or of our own."""
        if given := os.environ.get("MLFLOW_EXPERIMENT_ID"):
            return given
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return self._client.create_experiment(name)
            except MlflowException:  # another run was faster
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        return found.experiment_id


def _parameters(settings: Mapping[str, Any]) -> list[Param]:
    """Return settings as MLflow keeps them: texts of limited length."""
    texts = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in settings.items()
    }
    return [Param(_name(key), text[:MAX_PARAM_VAL_LENGTH]) for key, text in texts.items()]


def _name(key: str) -> str:
    """Return a name with other characters than MLflow allows replaced, and of its length."""
    return re.sub(r"[^\w\-. :/]", "_", key)[:MAX_ENTITY_KEY_LENGTH]


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    """Yield lists of at most ``size`` items."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
