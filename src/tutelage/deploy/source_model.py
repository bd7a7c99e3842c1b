"""The model to export or measure, with the name, folder and metadata of its export."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from tutelage.deploy.metadata import RANDOM
from tutelage.errors import WeightsError
from tutelage.evaluation.predictor import training_data
from tutelage.models.build import is_architecture, load
from tutelage.models.graph import GraphDetector
from tutelage.models.weight_file import read_checkpoint, restore, weight_file
from tutelage.weights.store import identity, load_header

EXPORTED = (".onnx", ".xml", ".bin", ".pt2")


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
        return SourceModel(model, model.arch_name, Path(), None, {})
    if is_architecture(model):
        detector = load(model)
        return SourceModel(detector.eval(), detector.arch_name, Path(), None, {"weights": RANDOM})
    if Path(model).suffix.lower() in EXPORTED:
        raise WeightsError(
            f"{model} is an export already.",
            fix="Give the checkpoint: a run folder or weight file.",
            code="W22",
        )
    file = weight_file(model)
    detector = restore(read_checkpoint(file))
    data = training_data(model)
    metadata: dict[str, Any] = {"weights": file.name, "sha256": identity(file)["sha256"]}
    metadata["data"] = Path(data).name if data is not None else ""  # not the private folder
    scores = load_header(file).get("scores") if file.suffix == ".safetensors" else None
    if isinstance(scores, dict):
        metadata["scores"] = {k: v for k, v in scores.items() if isinstance(v, int | float)}
    return SourceModel(detector, file.stem, file.parent, data, metadata)
