"""Models of any file format, opened with their runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tutelage.deploy.formats import FormatName, format_of
from tutelage.deploy.litert import litert_session, read_litert_metadata
from tutelage.deploy.metadata import MARK, RANDOM, Metadata
from tutelage.deploy.ncnn import ncnn_session, read_ncnn_metadata
from tutelage.errors import ConfigError, WeightsError
from tutelage.evaluation.device import choose_device
from tutelage.evaluation.predictor import Predictor, hardware, load_predictor
from tutelage.models.graph import GraphDetector
from tutelage.optional_packages import openvino_core, require
from tutelage.structures import Predictions
from tutelage.weights.file_type import existing_file

Arrays = Sequence[NDArray[Any]]
Session = Callable[[NDArray[np.float32]], Arrays]

GPU, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


def open_model(
    model: str | Path | GraphDetector | Predictor,
    device: str = "auto",
    *,
    augment: bool = False,
    half: bool = False,
    openvino: bool = False,
) -> Predictor:
    """Open a run folder, a weight file, or what was exported from one.

    That is an ``.onnx``, an OpenVINO ``.xml``, an ncnn ``.param`` or a LiteRT ``.tflite``.

    Args:
        model: The model; a detector is not changed.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        augment: Three views of each image; not with exported files.
        half: Compute in half precision on a GPU; not with exported files.
        openvino: Run an ``.onnx`` by OpenVINO.

    Raises:
        WeightsError: The model cannot be read, or was not exported by tutelage.
        MissingExtraError: Its runtime is not installed.
        ConfigError: The device is absent, or not supported by the runtime of the file.
    """
    if isinstance(model, Predictor):
        return model
    form = None if isinstance(model, GraphDetector) else format_of(model)
    if form == "pt2":
        raise WeightsError(
            f"Refused to read {model}: a torch.export file can run code when it is read.",
            fix="Give the checkpoint or another export; if you trust the file, use "
            "torch.export.load.",
            code="W11",
        )
    if isinstance(model, GraphDetector) or form is None:
        return load_predictor(model, choose_device(device), augment=augment, half=half)
    if augment:
        raise ConfigError(f"--augment needs a checkpoint, not {model}.", code="C30")
    if half:
        raise ConfigError(
            f"--half needs a checkpoint, not {model}.",
            fix="tutelage export RUN --half",
            code="C30",
        )
    path = existing_file(model)
    return _OPENERS["openvino" if openvino else form](path, device)


def read_metadata(path: Path) -> Metadata:
    """Read the metadata of an exported file that :func:`open_model` takes.

    Raises:
        WeightsError: The file is damaged or was not exported by tutelage.
        MissingExtraError: Its runtime is not installed.
    """
    match format_of(path):
        case "ncnn":
            return read_ncnn_metadata(path)
        case "litert":
            return read_litert_metadata(path)
        case "openvino":
            return _openvino_model(path, "cpu")[1]
        case _:
            return _onnx_session(path, "cpu")[1]


def as_predictions(xyxy: Tensor, scores: Tensor) -> Predictions:
    """Return boxes ``(b, n, 4)`` and scores ``(b, n, c)`` as predictions without objectness."""
    level = torch.zeros(xyxy.shape[1], dtype=torch.int64)
    return Predictions(xyxy, torch.logit(scores), None, level)


def _onnx_runtime(path: Path, device: str) -> Predictor:
    session, metadata = _onnx_session(path, device)
    name = session.get_inputs()[0].name
    where = torch.device("cuda" if GPU in session.get_providers() else "cpu")
    return _as_predictor(
        path, metadata, lambda images: session.run(None, {name: images}), hardware(where)
    )


def _onnx_session(path: Path, device: str) -> tuple[Any, Metadata]:
    require("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    try:
        session = onnxruntime.InferenceSession(path, options, _providers(device))
    except ConfigError:
        raise
    except Exception as error:  # its errors have no common base
        raise _damaged(path, "ONNX Runtime", error) from error
    strings = session.get_modelmeta().custom_metadata_map
    return session, Metadata.read(strings, str(path))


def _providers(device: str) -> list[Any]:
    """Return the execution providers for a device, the best first."""
    import onnxruntime

    kind, _, number = device.partition(":")
    has_gpu = GPU in onnxruntime.get_available_providers()
    if kind == "cuda" and not has_gpu:
        raise ConfigError(
            f"--device {device}: this ONNX Runtime has no CUDA.",
            fix="pip install onnxruntime-gpu, or --device cpu",
            code="C18",
        )
    if kind == "cuda" or (kind == "auto" and has_gpu):
        return [(GPU, {"device_id": int(number or 0)}), CPU]
    choose_device("cpu" if kind == "auto" else device)
    return [CPU]


def _openvino(path: Path, device: str) -> Predictor:
    model, metadata = _openvino_model(path, device)
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "f32",  # some processors would round to bfloat16
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = openvino_core().compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()
    return _as_predictor(path, metadata, lambda images: list(request.infer(images).values()), "cpu")


def _openvino_model(path: Path, device: str) -> tuple[Any, Metadata]:
    require("openvino")
    _require_cpu(device, "OpenVINO")
    try:
        model = openvino_core().read_model(path)
    except Exception as error:  # its errors have no common base
        raise _damaged(path, "OpenVINO", error) from error
    if format_of(path) == "onnx":
        return model, _onnx_session(path, "cpu")[1]
    keys = [key for key in Metadata.model_fields if model.has_rt_info([MARK, key])]
    strings = {key: model.get_rt_info([MARK, key]).astype(str) for key in keys}
    return model, Metadata.read(strings, str(path))


def _ncnn(path: Path, device: str) -> Predictor:
    require("ncnn")
    _require_cpu(device, "ncnn")
    metadata = read_ncnn_metadata(path)
    try:
        session = ncnn_session(path)
    except ValueError as error:
        raise _damaged(path, "ncnn", error) from error
    return _as_predictor(path, metadata, session, "cpu")


def _litert(path: Path, device: str) -> Predictor:
    require("ai_edge_litert")
    _require_cpu(device, "LiteRT")
    metadata = read_litert_metadata(path)
    try:
        session = litert_session(path)
    except (ValueError, RuntimeError) as error:
        raise _damaged(path, "LiteRT", error) from error
    return _as_predictor(path, metadata, session, "cpu")


def _require_cpu(device: str, runtime: str) -> None:
    if device not in ("auto", "cpu"):
        raise ConfigError(
            f"--device {device}: {runtime} runs on the CPU here.", fix="--device cpu", code="C18"
        )


def _damaged(path: Path, runtime: str, error: Exception) -> WeightsError:
    reason = str(error).strip().splitlines() or [type(error).__name__]
    return WeightsError(
        f"{path} cannot be read by {runtime}: {reason[-1]}", fix="Export it again.", code="W26"
    )


def _as_predictor(path: Path, metadata: Metadata, session: Session, hardware: str) -> Predictor:
    """Return a predictor that runs a session; images are copied to the host."""
    fixed = metadata.shape
    if fixed is not None:
        session = _in_batches(session, fixed[0])

    def network(images: Tensor) -> Arrays:
        return session(np.ascontiguousarray(images.cpu().numpy()))

    def run(images: Tensor) -> Predictions:
        outputs = [torch.from_numpy(np.array(output)) for output in network(images)]
        if metadata.nms is None:
            return as_predictions(*outputs)
        if fixed is None:
            return _as_candidates(outputs[0], len(images), len(metadata.names))
        return _as_padded_candidates(outputs[0], len(metadata.names))

    return Predictor(
        title=str(path),
        names=metadata.names,
        stride=metadata.stride,
        image_size=metadata.image_size,
        device=torch.device("cpu"),
        hardware=hardware,
        run=run,
        network=network,
        floor=metadata.nms.conf if metadata.nms is not None else 0.0,
        random=metadata.weights == RANDOM,
        image_range=metadata.image_range,
        fixed=fixed is not None,
    )


_OPENERS: Mapping[FormatName, Callable[[Path, str], Predictor]] = {
    "onnx": _onnx_runtime,
    "openvino": _openvino,
    "ncnn": _ncnn,
    "litert": _litert,
}


def _in_batches(session: Session, batch: int) -> Session:
    """Return a session for any number of images from one for batches of a fixed size."""

    def run(images: NDArray[np.float32]) -> Arrays:
        missing = np.zeros((-len(images) % batch, *images.shape[1:]), np.float32)
        padded = np.concatenate([images, missing])
        found = [
            [np.array(output) for output in session(padded[start : start + batch])]
            for start in range(0, len(padded), batch)
        ]
        return [np.concatenate(parts)[: len(images)] for parts in zip(*found, strict=True)]

    return run


def _as_candidates(detections: Tensor, batch: int, classes: int) -> Predictions:
    """Return detections ``(m, 7)`` of a batch as candidates with a score in one class only."""
    image = detections[:, 0].long()
    counts = image.bincount(minlength=batch)
    most = int(counts.max()) if len(detections) else 0
    order = image.argsort(stable=True)
    place = torch.arange(len(image)) - (counts.cumsum(0) - counts)[image[order]]
    xyxy = detections.new_zeros(batch, most, 4)
    logits = detections.new_full((batch, most, classes), -torch.inf)
    image, detections = image[order], detections[order]
    xyxy[image, place] = detections[:, 1:5]
    logits[image, place, detections[:, 5].long()] = torch.logit(detections[:, 6])
    return Predictions(xyxy, logits, None, torch.zeros(most, dtype=torch.int64))


def _as_padded_candidates(detections: Tensor, classes: int) -> Predictions:
    """Return detections ``(b, k, 6)`` as candidates with a score in one class only."""
    xyxy, score, label = detections.split((4, 1, 1), -1)
    logits = torch.full((*score.shape[:2], classes), -torch.inf)
    logits.scatter_(-1, label.long(), torch.logit(score))
    return Predictions(xyxy, logits, None, torch.zeros(score.shape[1], dtype=torch.int64))
