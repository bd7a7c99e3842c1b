"""The model to export or measure, with the name, folder and metadata of its export."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from tutelage.deploy.formats import format_of
from tutelage.deploy.metadata import RANDOM
from tutelage.errors import WeightsError
from tutelage.evaluation.predictor import training_data
from tutelage.models.build import is_architecture, load, own_weights
from tutelage.models.graph import GraphDetector
from tutelage.models.weight_file import read_checkpoint, restore, weight_file
from tutelage.weights.store import identity


class SourceModel(NamedTuple):
    """A model to export or measure.

    Attributes:
        detector: The model.
        stem: Name of an exported file without its suffix.
        folder: Folder of an exported file.
        data: Data set of its training, if known.
        metadata: Entries of the metadata that its file provides.
    """

    detector: GraphDetector
    stem: str
    folder: Path
    data: str | None
    metadata: dict[str, Any]


def load_source(model: str | Path | GraphDetector) -> SourceModel:
    """Read a run folder or a weight file, or build an architecture with random weights.

    Raises:
        WeightsError: The model cannot be read, or is an export itself.
        ConfigError: There is no such architecture, or its yaml cannot be used.
    """
    if isinstance(model, GraphDetector):
        data = _data_of(model)
        return SourceModel(model, model.arch_name, Path(), data, _metadata(model, data))
    if is_architecture(model):
        detector = load(model)
        weights = {"weights": own_weights(model) or RANDOM}
        return SourceModel(detector.eval(), detector.arch_name, Path(), None, weights)
    if format_of(model) or Path(model).suffix.lower() == ".bin":
        raise WeightsError(
            f"{model} is an export already.",
            fix="Give the checkpoint: a run folder or weight file.",
            code="W22",
        )
    file = weight_file(model)
    detector = restore(read_checkpoint(file))
    data = training_data(model) or _data_of(detector)
    metadata = _metadata(detector, data)
    metadata |= {"weights": file.name, "sha256": identity(file)["sha256"]}
    return SourceModel(detector, file.stem, file.parent, data, metadata)


def _data_of(detector: GraphDetector) -> str | None:
    """Return the data set that a detector's weights name."""
    training = detector.metadata.get("training")
    data = training.get("data") if isinstance(training, dict) else None
    return data if isinstance(data, str) else None


def _metadata(detector: GraphDetector, data: str | None) -> dict[str, Any]:
    """Return what is known of a detector's training, without the folders of that machine."""
    known = detector.metadata
    scores, training, teachers = (known.get(key) for key in ("scores", "training", "teacher"))
    return {
        "data": "" if data is None else _name(data),
        "scores": _numbers(scores),
        "training": {k: v for k, v in _numbers(training).items() if isinstance(v, int)},
        "teachers": tuple(
            _name(each["source"])
            for each in (teachers if isinstance(teachers, list) else [])
            if isinstance(each, dict) and isinstance(each.get("source"), str)
        ),
    }


def _numbers(value: object) -> dict[str, Any]:
    entries = value.items() if isinstance(value, dict) else ()
    return {k: v for k, v in entries if isinstance(v, int | float) and not isinstance(v, bool)}


def _name(path: str) -> str:
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]
