"""Export of a checkpoint to a verified file for another runtime."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from tutelage.deploy.formats import FORMATS, FormatName, format_of
from tutelage.deploy.metadata import METADATA_FILE, Metadata, Suppression
from tutelage.deploy.network import DeployedNetwork, count_convolutions, make_portable, trace
from tutelage.deploy.runtime import as_predictions, open_model
from tutelage.deploy.source_model import load_source
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
    largest_difference,
    verification_cases,
)
from tutelage.errors import ConfigError, ExportError
from tutelage.evaluation.predictor import predictor, trained_range, trained_size, training_data
from tutelage.evaluation.validate import validate
from tutelage.models.cost import cost
from tutelage.models.detector import check_image_size
from tutelage.models.graph import GraphDetector
from tutelage.optional_packages import quiet, require
from tutelage.version import __version__

CALIBRATION = 128
REJECTED = ".rejected"
MARKS: Mapping[str, str] = {"float32": "", "float16": "-fp16", "int8": "-int8"}
NMS_MARK = "-nms"


class ExportResult(NamedTuple):
    """A finished export.

    Attributes:
        path: The file; beside it OpenVINO's weights, ``.bin``, or ncnn's with the metadata,
            ``.json``.
        metadata: Its metadata.
        difference: The largest difference from the checkpoint, of boxes divided by the canvas
            side and of scores; with int8, that of the float export.
        images: Number of real images compared.
        source: Their data set or path.
        ways: Batch sizes and canvases of the comparison.
        float_ap: With int8: AP of the float export on the val split.
        int8_ap: With int8: AP of the quantised export on the val split.
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
    to: FormatName = "onnx",
    *,
    out: str | Path | None = None,
    img_size: int | None = None,
    nms: bool = False,
    conf: float = 0.25,
    iou: float = 0.45,
    max_det: int = 300,
    half: bool = False,
    int8: bool = False,
    data: str | Path | None = None,
    images: str | Path | None = None,
    calibration: int = CALIBRATION,
    fixed_batch: int | None = None,
) -> ExportResult:
    """Export a model for any batch and image size, and verify it against its checkpoint.

    Files for ncnn and LiteRT take one square image at a time, of ``img_size``.

    Args:
        model: Run folder, weight file, an architecture (with random weights, for measuring only),
            or a detector (not changed).
        to: ``onnx``, ``openvino``, ``ncnn``, ``litert`` or ``pt2`` (torch.export).
        out: The file, or a folder for it; None: beside the weights.
        img_size: Image size in pixels, the default of the file; None: that of the training.
        nms: Put the suppression into the file; with ``onnx`` and ``openvino``.
        conf: Score threshold of that suppression.
        iou: Overlap limit of that suppression.
        max_det: Detections per image of that suppression.
        half: Weights in half precision; images, boxes and scores stay float32.
        int8: Quantise to eight-bit integers and evaluate both on the val split; with ``onnx`` and
            ``openvino``.
        data: Data set for int8 and for the verification; None: that of the run.
        images: Images for the verification; None: the val split, else the built-in digits.
        calibration: Number of training images for the calibration of the integers.
        fixed_batch: Fix all shapes, for so many square images of ``img_size``; with ``nms`` the
            number of the detections, too.

    Raises:
        WeightsError: The model cannot be read.
        ConfigError: The settings contradict each other.
        DataError: The data set or the images cannot be used.
        MissingExtraError: A package is missing.
        ExportError: The file differs from the checkpoint. It is kept as ``NAME.rejected``.
    """
    kind = FORMATS[to]
    if not kind.has_nms and (nms or int8):
        flag = "--nms" if nms else "--int8"
        raise ConfigError(f"{flag} needs --to onnx or openvino, not {to}.", code="C30")
    if kind.one_image and fixed_batch not in (None, 1):
        raise ConfigError(
            f"--fixed-batch {fixed_batch}: {kind.title} files take one image at a time.",
            fix="Leave it out.",
            code="C30",
        )
    if half and int8:
        raise ConfigError("--half and --int8 exclude each other.", fix="Export twice.", code="C30")
    require(*kind.writes, *kind.runs, *(("nncf",) if int8 and to == "openvino" else ()))
    source = load_source(model)
    detector = source.detector
    stride = max(detector.strides)
    size = img_size if img_size is not None else trained_size(detector)
    check_image_size(size, stride)
    image_range = trained_range(detector)
    precision = "int8" if int8 else "float16" if half else "float32"
    stem = f"{source.stem}{MARKS[precision]}{NMS_MARK if nms else ''}"
    target = _target(stem, source.folder, kind.suffix, out)
    batch = 1 if kind.one_image else fixed_batch
    shape = None if batch is None else (batch, size, size)
    integers = None
    if int8:
        known = source.data and training_data(cast("str | Path", model), must_exist=True)
        int8_data = data or known
        if int8_data is None:
            raise ConfigError(
                "--int8 needs training images for calibration.",
                fix="Add  --data data.yaml",
                code="C26",
            )
        integers = QuantisationData(
            int8_data,
            images_to_quantise(int8_data, detector, count=calibration, image_range=image_range),
        )
    network = DeployedNetwork(detector, half=half and to in ("onnx", "pt2"))
    job = _Job(
        title=kind.title,
        target=target,
        size=size,
        limit=HALF_LIMIT if half else LIMIT,
        real=images_to_verify(images, data, source.data, count=IMAGES, image_range=image_range),
        cases=verification_cases(size, stride, shape),
        checkpoint=predictor(copy.deepcopy(detector).cpu().float().eval()),
        convolutions=count_convolutions(network),
    )
    parameters, gflops = cost(network.detector, size)
    metadata = Metadata(
        tutelage=__version__,
        arch=detector.arch_name,
        names=detector.names,
        grey=detector.image_channels == 1,
        stride=stride,
        strides=detector.strides,
        image_size=size,
        image_range=image_range,
        parameters=parameters,
        gflops=gflops,
        precision="float16" if half else "float32",
        shape=shape,
        **source.metadata,
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent) as folder:
        if kind.one_image:
            return _export_network(network, job, metadata, Path(folder))
        program = trace(network, shape)
        if to == "pt2":
            return _export_program(program, job, metadata.described(), Path(folder))
        suppression = Suppression(conf=conf, iou=iou, max_detections=max_det)
        return _export_graph(
            program,
            job,
            metadata,
            Path(folder),
            suppression=suppression if nms else None,
            integers=integers,
        )


class QuantisationData(NamedTuple):
    """A data set for the AP, and pictures for the calibration."""

    data: str | Path
    images: list[NDArray[np.uint8]]


class _Job(NamedTuple):
    """Target and verification of an export, shared by its steps."""

    title: str
    target: Path
    size: int
    limit: float
    real: VerificationImages
    cases: tuple[VerificationCase, ...]
    checkpoint: Run
    convolutions: int

    def verify(
        self, expected: Run, actual: Run, stage: Path, suppression: Suppression | None = None
    ) -> float:
        """Compare two networks; if they differ, keep the files in ``stage`` as rejected."""
        worst = largest_difference(
            expected, actual, self.real.images, self.cases, suppression=suppression
        )
        limit = self.limit if suppression is None else LIMIT  # with equal inputs
        if not worst <= limit:
            self.move(stage, REJECTED)
            raise ExportError(
                f"The {self.title} model differs from the checkpoint: max |Δ| {worst:.2g} on "
                f"{len(self.real.images)} images, {self.real.source} (limit {limit:g}).",
                fix=f"Kept as {self.target.name}{REJECTED}; please report it.",
                code="E20",
            )
        return worst

    def move(self, stage: Path, suffix: str = "") -> None:
        """Move the files of a step to the target folder."""
        for file in sorted(stage.iterdir()):
            file.replace(self.target.with_name(file.name + suffix))

    def finish(self, stage: Path, metadata: Metadata, worst: float) -> ExportResult:
        """Move the files of the last step to the target folder and return the result."""
        self.move(stage)
        return ExportResult(
            self.target, metadata, worst, len(self.real.images), self.real.source, self.cases
        )


def _export_program(
    program: ExportedProgram, job: _Job, metadata: Metadata, folder: Path
) -> ExportResult:
    path = folder / job.target.name
    _require_count(sum(x.numel() for x in program.parameters()), metadata.parameters)
    extra = {METADATA_FILE: json.dumps(metadata.model_dump(mode="json"))}
    make_portable(program)
    with quiet():
        torch.export.save(program, path, extra_files=extra)
        loaded = torch.export.load(path)  # safe: written above
        try:  # converters decompose it first: what they get is verified, too
            forms = loaded.module(), loaded.run_decompositions().module()
        except AssertionError as error:
            raise ExportError(
                f"The {job.title} file cannot be converted: {error}.",
                fix="Please report it with the version of torch.",
                code="E20",
            ) from error
    worst = max(
        job.verify(job.checkpoint, lambda images, run=form: as_predictions(*run(images)), folder)
        for form in forms
    )
    return job.finish(folder, metadata, worst)


def _export_network(
    network: DeployedNetwork, job: _Job, metadata: Metadata, folder: Path
) -> ExportResult:
    if format_of(job.target) == "litert":
        from tutelage.deploy.litert import describe_litert as describe
        from tutelage.deploy.litert import write_litert as write
    else:
        from tutelage.deploy.ncnn import describe_ncnn as describe
        from tutelage.deploy.ncnn import write_ncnn as write
    metadata, path = describe(metadata), folder / job.target.name
    _require_count(write(network, path, metadata), job.convolutions)
    worst = job.verify(job.checkpoint, open_model(path, "cpu").run, folder)
    return job.finish(folder, metadata, worst)


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

    def file_of(step: str) -> Path:
        """Return the file of a step, in its own folder."""
        (folder / step).mkdir()
        return folder / step / job.target.name

    graph = to_onnx(program)
    _require_count(count_parameters(graph), job.convolutions)
    path, metadata = file_of("floats"), metadata.described()
    write(graph, path, metadata)
    floats = open_model(path, "cpu")
    worst = job.verify(job.checkpoint, floats.run, path.parent)
    if suppression is not None:
        bare, path = path, file_of("suppression")
        with_nms = metadata.model_copy(update={"nms": suppression}).described()
        add_suppression(bare, path, with_nms)
        actual = open_model(path, "cpu").run
        worst = max(worst, job.verify(floats.run, actual, path.parent, suppression))
        metadata = with_nms if integers is None else metadata
    scores: tuple[float | None, ...] = (None, None)
    if integers is not None:
        metadata = metadata.model_copy(update={"precision": "int8"}).described()
        path = file_of("integers")
        write_int8(graph, path, metadata, integers.images)
        both = (floats, open_model(path, "cpu"))
        scores = tuple(validate(x, data=integers.data, image_size=job.size).AP for x in both)
        if suppression is not None:
            # Not compared: rounding of integers depends on the graph around them.
            bare, path = path, file_of("integers with suppression")
            metadata = metadata.model_copy(update={"nms": suppression}).described()
            add_suppression(bare, path, metadata)
            open_model(path, "cpu")
    return job.finish(path.parent, metadata, worst)._replace(float_ap=scores[0], int8_ap=scores[1])


def _require_count(actual: int, expected: int) -> None:
    """Raise if an export has more or fewer parameters than the model."""
    if actual != expected:
        raise ExportError(
            f"The export has {actual} parameters, but the model has {expected}.",
            fix="Please report it.",
        )


def _target(stem: str, folder: Path, suffix: str, out: str | Path | None) -> Path:
    """Return the file to write: ``out``, else beside the weights."""
    default = folder / f"{stem}{suffix}"
    if out is None:
        return default
    path = Path(out)
    if path.is_dir() or not path.suffix:
        return path / default.name
    if not path.name.endswith(suffix):
        raise ConfigError(f"--out {out} must end in {suffix}, or be a folder.", code="C29")
    return path
