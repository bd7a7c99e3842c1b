"""From a checkpoint to a verified file for another runtime."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from tutelage import __version__
from tutelage.deploy.extras import require
from tutelage.deploy.metadata import Metadata, Suppression
from tutelage.deploy.network import DeployedNetwork, quiet, traced
from tutelage.deploy.real import RealImages, images_of, images_to_verify
from tutelage.deploy.runtime import as_predictions, open_model
from tutelage.deploy.verify import IMAGES, LIMIT, Check, Run, checks, difference
from tutelage.errors import ConfigError, ExportError
from tutelage.evaluation.runnable import data_of, predictor, trained_size
from tutelage.evaluation.validate import validate
from tutelage.models.checkpoint import read_checkpoint, restore, weight_file
from tutelage.models.cost import cost
from tutelage.models.detector import check_image_size
from tutelage.models.graph import GraphDetector

if TYPE_CHECKING:
    from onnx import ModelProto

Format = Literal["onnx", "openvino", "pt2"]
CALIBRATION = 128
REJECTED = ".rejected"
METADATA_FILE = "tutelage.json"


class _Kind(NamedTuple):
    title: str
    suffix: str
    packages: tuple[str, ...]


_ONNX = ("onnx", "onnxscript", "onnxslim", "onnxruntime")
KINDS: Mapping[Format, _Kind] = {
    "onnx": _Kind("ONNX", ".onnx", _ONNX),
    "openvino": _Kind("OpenVINO", ".xml", (*_ONNX, "openvino")),
    "pt2": _Kind("torch.export", ".pt2", ()),
}


class Exported(NamedTuple):
    """A finished export.

    Attributes:
        path: The file; OpenVINO's weights lie beside it as ``.bin``.
        metadata: What stands in it.
        difference: The largest difference from the checkpoint, of boxes as shares of the canvas
            and of scores; with integers, that of the export in floats.
        images: How many real images were compared.
        source: Where they come from.
        ways: How they were shown.
        float_ap: AP of the floats on the val split, with integers only.
        int8_ap: AP of the integers there.
    """

    path: Path
    metadata: Metadata
    difference: float
    images: int
    source: str
    ways: tuple[Check, ...]
    float_ap: float | None = None
    int8_ap: float | None = None


def export(
    model: str | Path | GraphDetector,
    to: Format = "onnx",
    *,
    out: str | Path | None = None,
    image_size: int | None = None,
    nms: bool = False,
    conf: float = 0.25,
    iou: float = 0.45,
    max_detections: int = 300,
    int8: bool = False,
    data: str | Path | None = None,
    images: str | Path | None = None,
    calibration: int = CALIBRATION,
) -> Exported:
    """Export a model for any batch and image size, and verify it against its checkpoint.

    Args:
        model: Run folder, weight file, or a detector (which stays as it is).
        to: ``onnx``, ``openvino`` or ``pt2`` (torch.export).
        out: The file, or a folder for it; None: beside the weights.
        image_size: The size it is made for, in pixels; None: that of the training.
        nms: Put the suppression into the file; not with ``pt2``, nor OpenVINO's integers.
        conf: Of that suppression: the least score.
        iou: Of that suppression: the overlap limit.
        max_detections: Of that suppression: at most so many per image and class.
        int8: Quantise to eight-bit integers, and score both on the val split; not with ``pt2``.
        data: Data set for that, and for verifying; None: that of the run.
        images: Images for verifying; None: the val split, else the built-in digits.
        calibration: Training images for the ranges of the integers.

    Raises:
        WeightsError: The model cannot be read.
        ConfigError: The settings contradict each other.
        MissingExtraError: A package is missing.
        ExportError: The file disagrees with the checkpoint. It is kept as ``NAME.rejected``.
    """
    kind = KINDS[to]
    if to == "pt2" and (nms or int8):
        flag = "--nms" if nms else "--int8"
        raise ConfigError(f"{flag} needs --to onnx or openvino, not pt2.", code="C30")
    if to == "openvino" and nms and int8:
        raise ConfigError("--nms with --int8 needs --to onnx, not openvino.", code="C30")
    require(*kind.packages, *(("nncf",) if int8 and to == "openvino" else ()))
    detector = model if isinstance(model, GraphDetector) else restore(read_checkpoint(model))
    stride = max(detector.strides)
    size = image_size if image_size is not None else trained_size(model)
    check_image_size(size, stride)
    chosen = data if data is not None or isinstance(model, GraphDetector) else data_of(model)
    if int8 and chosen is None:
        raise ConfigError(
            "--int8 needs training images for calibration.", fix="Add  --data data.yaml", code="C26"
        )
    target = _target(model, kind.suffix, out, int8=int8)
    job = _Job(
        title=kind.title,
        target=target,
        size=size,
        real=images_to_verify(images, chosen, count=IMAGES),
        ways=checks(size, stride),
        checkpoint=predictor(copy.deepcopy(detector).cpu().float().eval()),
    )
    network = DeployedNetwork(detector)
    parameters, gflops = cost(network.detector, size)
    metadata = Metadata(
        tutelage=__version__,
        arch=detector.arch_name,
        names=detector.names,
        stride=stride,
        image_size=size,
        parameters=parameters,
        gflops=gflops,
    )
    program = traced(network)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent) as folder:
        if to == "pt2":
            return _export_program(program, job, metadata, Path(folder))
        suppression = Suppression(conf=conf, iou=iou, max_detections=max_detections)
        return _export_graph(
            program,
            job,
            metadata,
            Path(folder),
            suppression=suppression if nms else None,
            int8=(chosen, calibration) if int8 and chosen is not None else None,
        )


class _Job(NamedTuple):
    """What all steps of an export need."""

    title: str
    target: Path
    size: int
    real: RealImages
    ways: tuple[Check, ...]
    checkpoint: Run

    def verify(
        self, expected: Run, found: Run, stage: Path, suppression: Suppression | None = None
    ) -> float:
        """Compare two networks; the files in ``stage`` are kept for a look if they differ."""
        worst = difference(expected, found, self.real.images, self.ways, suppression=suppression)
        if not worst <= LIMIT:
            self.move(stage, REJECTED)
            raise ExportError(
                f"The {self.title} model disagrees with the checkpoint: max |Δ| {worst:.2g} on "
                f"{len(self.real.images)} images, {self.real.source} (limit {LIMIT:g}).",
                fix=f"Kept as {self.target.name}{REJECTED}; please report it.",
                code="E20",
            )
        return worst

    def move(self, stage: Path, suffix: str = "") -> None:
        """Put the files of a step into their place."""
        for file in sorted(stage.iterdir()):
            file.replace(self.target.with_name(file.name + suffix))

    def done(self, stage: Path, metadata: Metadata, worst: float) -> Exported:
        """Finish with the files of the last step."""
        self.move(stage)
        return Exported(
            self.target, metadata, worst, len(self.real.images), self.real.source, self.ways
        )


def _export_program(
    program: ExportedProgram, job: _Job, metadata: Metadata, folder: Path
) -> Exported:
    path = folder / job.target.name
    _require_count(sum(x.numel() for x in program.parameters()), metadata.parameters)
    extra = {METADATA_FILE: json.dumps(metadata.model_dump(mode="json"))}
    with quiet():
        torch.export.save(program, path, extra_files=extra)
        again = torch.export.load(path).module()  # our own file of a moment ago
    worst = job.verify(job.checkpoint, lambda images: as_predictions(*again(images)), folder)
    return job.done(folder, metadata, worst)


def _export_graph(
    program: ExportedProgram,
    job: _Job,
    metadata: Metadata,
    folder: Path,
    *,
    suppression: Suppression | None,
    int8: tuple[str | Path, int] | None,
) -> Exported:
    from tutelage.deploy.onnx import count_parameters, read_onnx, to_onnx, with_suppression

    def written(
        graph: ModelProto,
        name: str,
        metadata: Metadata,
        images: Sequence[NDArray[np.uint8]] | None = None,
    ) -> Path:
        """Write a step's model; with images, quantised by what they show."""
        path = folder / name / job.target.name
        path.parent.mkdir()
        _write(graph, path, metadata, images)
        return path

    graph = to_onnx(program)
    _require_count(count_parameters(graph), metadata.parameters)
    path = written(graph, "float32", metadata)
    dense = open_model(path, "cpu")
    worst = job.verify(job.checkpoint, dense.run, path.parent)
    scores: tuple[float | None, ...] = (None, None)
    if int8 is not None:
        metadata = metadata.model_copy(update={"precision": "int8"})
        known = images_of(int8[0], "train", count=int8[1]).images
        path = written(graph, "int8", metadata, known)
        plain, dense = dense, open_model(path, "cpu")
        scores = tuple(validate(x, data=int8[0], image_size=job.size).AP for x in (plain, dense))
    if suppression is not None:
        metadata = metadata.model_copy(update={"nms": suppression})
        graph = graph if int8 is None else read_onnx(path)
        path = written(with_suppression(graph, suppression), "nms", metadata)
        suppressed = open_model(path, "cpu").run
        worst = max(worst, job.verify(dense.run, suppressed, path.parent, suppression))
    return job.done(path.parent, metadata, worst)._replace(float_ap=scores[0], int8_ap=scores[1])


def _write(
    graph: ModelProto,
    path: Path,
    metadata: Metadata,
    images: Sequence[NDArray[np.uint8]] | None,
) -> None:
    if path.suffix == ".onnx":
        from tutelage.deploy.onnx import write_onnx as write
        from tutelage.deploy.quantise import write_int8_onnx as write_int8
    else:
        from tutelage.deploy.openvino import write_int8_openvino as write_int8
        from tutelage.deploy.openvino import write_openvino as write
    if images is None:
        write(graph, path, metadata)
    else:
        write_int8(graph, path, metadata, images)


def _require_count(found: int, expected: int) -> None:
    """Raise if an export lost or gained weights: it would not be the student."""
    if found != expected:
        raise ExportError(
            f"The export has {found} parameters, but the model has {expected}.",
            fix="Please report it.",
        )


def _target(
    model: str | Path | GraphDetector, suffix: str, out: str | Path | None, *, int8: bool
) -> Path:
    """Return the file to write: as asked for, else beside the weights."""
    mark = "-int8" if int8 else ""
    if isinstance(model, GraphDetector):
        default = Path(f"{model.arch_name}{mark}{suffix}")
    else:
        weights = weight_file(model)
        default = weights.with_name(f"{weights.stem}{mark}{suffix}")
    if out is None:
        return default
    path = Path(out)
    if path.is_dir() or not path.suffix:
        return path / default.name
    if path.suffix != suffix:
        raise ConfigError(f"--out {out} must end in {suffix}.", code="C29")
    return path
