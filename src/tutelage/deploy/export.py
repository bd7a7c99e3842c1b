"""From a checkpoint to a verified file for another runtime."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from tutelage import __version__
from tutelage.deploy.metadata import Metadata, Suppression
from tutelage.deploy.network import DeployedNetwork, quiet, traced
from tutelage.deploy.optional_packages import require
from tutelage.deploy.runtime import as_predictions, open_model
from tutelage.deploy.source_model import origin_of
from tutelage.deploy.verification_images import (
    VerificationImages,
    images_to_quantise,
    images_to_verify,
)
from tutelage.deploy.verify import (
    HALF_LIMIT,
    IMAGES,
    LIMIT,
    Run,
    VerificationCase,
    checks,
    difference,
)
from tutelage.errors import ConfigError, ExportError
from tutelage.evaluation.predictor import predictor, trained_size
from tutelage.evaluation.validate import validate
from tutelage.models.cost import cost
from tutelage.models.detector import check_image_size
from tutelage.models.graph import GraphDetector

Format = Literal["onnx", "openvino", "pt2"]
CALIBRATION = 128
REJECTED = ".rejected"
METADATA_FILE = "tutelage.json"
MARKS: Mapping[str, str] = {"float32": "", "float16": "-fp16", "int8": "-int8"}


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


class ExportResult(NamedTuple):
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
    ways: tuple[VerificationCase, ...]
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
    half: bool = False,
    int8: bool = False,
    data: str | Path | None = None,
    images: str | Path | None = None,
    calibration: int = CALIBRATION,
) -> ExportResult:
    """Export a model for any batch and image size, and verify it against its checkpoint.

    Args:
        model: Run folder, weight file, an architecture (its weights are random then, for measuring
            only), or a detector (which stays as it is).
        to: ``onnx``, ``openvino`` or ``pt2`` (torch.export).
        out: The file, or a folder for it; None: beside the weights.
        image_size: The size it is made for, in pixels; None: that of the training.
        nms: Put the suppression into the file; not with ``pt2``.
        conf: Of that suppression: the least score.
        iou: Of that suppression: the overlap limit.
        max_detections: Of that suppression: at most so many per image.
        half: Weights in half precision; images, boxes and scores stay float32.
        int8: Quantise to eight-bit integers, and score both on the val split; not with ``pt2``.
        data: Data set for that, and for verifying; None: that of the run.
        images: Images for verifying; None: the val split, else the built-in digits.
        calibration: Training images for the ranges of the integers.

    Raises:
        WeightsError: The model cannot be read.
        ConfigError: The settings contradict each other.
        DataError: The data set or the images that were given cannot be used.
        MissingExtraError: A package is missing.
        ExportError: The file disagrees with the checkpoint. It is kept as ``NAME.rejected``.
    """
    kind = KINDS[to]
    if to == "pt2" and (nms or int8):
        flag = "--nms" if nms else "--int8"
        raise ConfigError(f"{flag} needs --to onnx or openvino, not pt2.", code="C30")
    if half and int8:
        raise ConfigError("--half and --int8 exclude each other.", fix="Export twice.", code="C30")
    require(*kind.packages, *(("nncf",) if int8 and to == "openvino" else ()))
    origin = origin_of(model)
    detector = origin.detector
    stride = max(detector.strides)
    size = image_size if image_size is not None else trained_size(model, stride)
    check_image_size(size, stride)
    precision = "int8" if int8 else "float16" if half else "float32"
    target = _target(origin.stem + MARKS[precision], origin.folder, kind.suffix, out)
    chosen = data or origin.data
    integers = None
    if int8:
        if chosen is None:
            raise ConfigError(
                "--int8 needs training images for calibration.",
                fix="Add  --data data.yaml",
                code="C26",
            )
        integers = QuantisationData(chosen, images_to_quantise(chosen, detector, count=calibration))
    job = _Job(
        title=kind.title,
        target=target,
        size=size,
        limit=HALF_LIMIT if half else LIMIT,
        real=images_to_verify(images, data, origin.data, count=IMAGES),
        ways=checks(size, stride),
        checkpoint=predictor(copy.deepcopy(detector).cpu().float().eval()),
    )
    network = DeployedNetwork(detector, half=half and to != "openvino")
    parameters, gflops = cost(network.detector, size)
    metadata = Metadata(
        tutelage=__version__,
        arch=detector.arch_name,
        names=detector.names,
        stride=stride,
        image_size=size,
        parameters=parameters,
        gflops=gflops,
        precision="float16" if half else "float32",
        **origin.card,
    )
    program = traced(network)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent) as folder:
        if to == "pt2":
            return _export_program(program, job, metadata.described(), Path(folder))
        suppression = Suppression(conf=conf, iou=iou, max_detections=max_detections)
        return _export_graph(
            program,
            job,
            metadata,
            Path(folder),
            suppression=suppression if nms else None,
            integers=integers,
        )


class QuantisationData(NamedTuple):
    """What quantisation needs: a data set to score on, and pictures for the ranges."""

    data: str | Path
    images: list[NDArray[np.uint8]]


class _Job(NamedTuple):
    """What all steps of an export need."""

    title: str
    target: Path
    size: int
    limit: float
    real: VerificationImages
    ways: tuple[VerificationCase, ...]
    checkpoint: Run

    def verify(
        self, expected: Run, found: Run, stage: Path, suppression: Suppression | None = None
    ) -> float:
        """Compare two networks; the files in ``stage`` are kept for a look if they differ."""
        worst = difference(expected, found, self.real.images, self.ways, suppression=suppression)
        limit = self.limit if suppression is None else LIMIT  # the same numbers go into it
        if not worst <= limit:
            self.move(stage, REJECTED)
            raise ExportError(
                f"The {self.title} model disagrees with the checkpoint: max |Δ| {worst:.2g} on "
                f"{len(self.real.images)} images, {self.real.source} (limit {limit:g}).",
                fix=f"Kept as {self.target.name}{REJECTED}; please report it.",
                code="E20",
            )
        return worst

    def move(self, stage: Path, suffix: str = "") -> None:
        """Put the files of a step into their place."""
        for file in sorted(stage.iterdir()):
            file.replace(self.target.with_name(file.name + suffix))

    def done(self, stage: Path, metadata: Metadata, worst: float) -> ExportResult:
        """Finish with the files of the last step."""
        self.move(stage)
        return ExportResult(
            self.target, metadata, worst, len(self.real.images), self.real.source, self.ways
        )


def _export_program(
    program: ExportedProgram, job: _Job, metadata: Metadata, folder: Path
) -> ExportResult:
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
    integers: QuantisationData | None,
) -> ExportResult:
    from tutelage.deploy.onnx import count_parameters, to_onnx

    if job.target.suffix == ".onnx":
        from tutelage.deploy.onnx import add_suppression
        from tutelage.deploy.onnx import write_onnx as write
        from tutelage.deploy.quantise import write_int8_onnx as write_int8
    else:
        from tutelage.deploy.openvino import add_suppression
        from tutelage.deploy.openvino import write_int8_openvino as write_int8
        from tutelage.deploy.openvino import write_openvino as write

    def place(step: str) -> Path:
        """Return the file of a step, in a folder of its own."""
        (folder / step).mkdir()
        return folder / step / job.target.name

    graph = to_onnx(program)
    _require_count(count_parameters(graph), metadata.parameters)
    path, metadata = place("floats"), metadata.described()
    write(graph, path, metadata)
    floats = open_model(path, "cpu")
    worst = job.verify(job.checkpoint, floats.run, path.parent)
    if suppression is not None:
        bare, path = path, place("suppression")
        about = metadata.model_copy(update={"nms": suppression}).described()
        add_suppression(bare, path, about)
        found = job.verify(floats.run, open_model(path, "cpu").run, path.parent, suppression)
        worst = max(worst, found)
        metadata = about if integers is None else metadata
    scores: tuple[float | None, ...] = (None, None)
    if integers is not None:
        metadata = metadata.model_copy(update={"precision": "int8"}).described()
        path = place("integers")
        write_int8(graph, path, metadata, integers.images)
        both = (floats, open_model(path, "cpu"))
        scores = tuple(validate(x, data=integers.data, image_size=job.size).AP for x in both)
        if suppression is not None:
            # Not compared: a runtime rounds integers as the graph around them lets it.
            bare, path = path, place("integers with suppression")
            metadata = metadata.model_copy(update={"nms": suppression}).described()
            add_suppression(bare, path, metadata)
            open_model(path, "cpu")
    return job.done(path.parent, metadata, worst)._replace(float_ap=scores[0], int8_ap=scores[1])


def _require_count(found: int, expected: int) -> None:
    """Raise if an export lost or gained weights: it would not be the student."""
    if found != expected:
        raise ExportError(
            f"The export has {found} parameters, but the model has {expected}.",
            fix="Please report it.",
        )


def _target(stem: str, folder: Path, suffix: str, out: str | Path | None) -> Path:
    """Return the file to write: as asked for, else beside the weights."""
    default = folder / f"{stem}{suffix}"
    if out is None:
        return default
    path = Path(out)
    if path.is_dir() or not path.suffix:
        return path / default.name
    if path.suffix != suffix:
        raise ConfigError(f"--out {out} must end in {suffix}, or be a folder.", code="C29")
    return path
