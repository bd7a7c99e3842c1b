"""Detectors of the ultralytics package as teachers: ``ultralytics:FILE.pt``.

The package is AGPL-3.0 and no dependency: such a teacher works only where it is installed, and only
its public interface is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tutelage.errors import ConfigError, MissingExtraError, WeightsError
from tutelage.losses.boxes import corners
from tutelage.structures import Predictions, height_width
from tutelage.teachers.foreign import ABSENT, ForeignTeacher, level_index, log_odds
from tutelage.teachers.recorder import TapRecorder
from tutelage.teachers.teacher import content_hash
from tutelage.weights import identity


def load_ultralytics(file: str, device: torch.device, dtype: torch.dtype) -> ForeignTeacher:  # noqa: ARG001
    """Load a YOLO detector. The package itself opens the file, which may run code in it.

    Args:
        file: A ``.pt`` file of the package.
        device: Where it runs.
        dtype: Unused: it runs in float32.

    Raises:
        MissingExtraError: The package is not installed.
        WeightsError: The file is missing or cannot be read.
        ConfigError: It is no detector, or none is named.
    """
    if not file.strip():
        raise ConfigError(
            "'ultralytics:' names no network.", fix="Give ultralytics:FILE.pt", code="T23"
        )
    record: dict[str, Any] = {"source": f"ultralytics:{file}", **identity(file)}
    try:
        library: Any = import_module("ultralytics")
    except ImportError as error:
        raise MissingExtraError(
            "ultralytics: teachers need the ultralytics package.",
            fix="pip install ultralytics  (its licence is AGPL-3.0: see what that means for you)",
        ) from error
    try:
        yolo = library.YOLO(file, verbose=False)
    except Exception as error:  # another package may fail in any way
        reason = f"{type(error).__name__}: {error}"
        raise WeightsError(f"ultralytics cannot open {file}: {reason}", code="T23") from error
    if Path(str(yolo.ckpt_path)).resolve() != Path(file).resolve():
        what = f"ultralytics takes '{file}' for a name of its own and opened {yolo.ckpt_path}"
        raise WeightsError(what, fix="Give your file another name.", code="T23")
    if yolo.task != "detect":
        raise ConfigError(f"{file} is for the task '{yolo.task}', not 'detect'", code="T23")
    network = yolo.model
    inputs = network.model[-1].f  # the rows that feed the head
    names = [str(name) for _, name in sorted(yolo.names.items())]
    record["content"] = content_hash(network.state_dict(), names)
    keys = [f"model.{number}" for number in inputs]
    recorder = TapRecorder(network, keys)

    def forward(images: Tensor, predictions: bool) -> tuple[list[Tensor], Predictions | None]:
        outputs, out = recorder(lambda: network(images), stop=not predictions)
        maps = [outputs[key] for key in keys]
        return maps, _predictions(out, maps, len(names)) if predictions else None

    title = str(getattr(network, "yaml", {}).get("yaml_file", file)).removesuffix(".yaml")
    return ForeignTeacher(network, forward, title=title, names=names, record=record, device=device)


def _predictions(out: Any, maps: Sequence[Tensor], classes: int) -> Predictions:
    """Convert dense ``(b, 4 + classes, n)`` output, or the ``(b, n, 6)`` of a head without NMS."""
    raw = out if isinstance(out, Tensor) else out[0]
    if raw.shape[1] == 4 + classes:
        xywh, scores = raw.transpose(1, 2).split([4, classes], -1)
        grids = tuple(height_width(feature) for feature in maps)
        level = level_index([h * w for h, w in grids])
        xyxy = corners(xywh)
        return Predictions(xyxy, log_odds(scores), None, level, grids=grids)
    xyxy, score, label = raw.split([4, 1, 1], -1)
    logits = score.new_full((*score.shape[:2], classes), ABSENT)
    logits.scatter_(-1, label.long(), log_odds(score))
    return Predictions(xyxy, logits, None, level_index([raw.shape[1]]))
