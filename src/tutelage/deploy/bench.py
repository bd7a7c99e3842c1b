"""Measurement of models: size, operations, latency, throughput and memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import torch

from tutelage.deploy.export import export
from tutelage.deploy.formats import Runtime, files_of, format_of, runtime_packages
from tutelage.deploy.runtime import read_metadata
from tutelage.deploy.source_model import load_source
from tutelage.errors import ConfigError, UserError
from tutelage.evaluation.device import choose_device
from tutelage.evaluation.predictor import check_fixed_size, trained_size
from tutelage.models.build import is_architecture, load
from tutelage.models.cost import cost
from tutelage.models.detector import check_image_size
from tutelage.models.graph import GraphDetector
from tutelage.models.weight_file import weight_file
from tutelage.optional_packages import require
from tutelage.weights.file_type import existing_file
from tutelage.weights.header import header
from tutelage.weights.store import save_best

TORCH: tuple[Runtime] = ("torch",)


class Measurement(NamedTuple):
    """The measurements of a model in one runtime, without suppression unless the file has it.

    Attributes:
        model: The model as given.
        runtime: ``torch``, ``onnx``, ``openvino``, ``ncnn`` or ``litert``.
        device: Its device, or the name of its GPU.
        precision: ``float32``, ``float16`` or ``int8``.
        image_size: Side of the square images in pixels.
        batch: Images per batch.
        threads: Threads on the CPU.
        parameters: Parameters of the folded network.
        gflops: Operations per image in 1e9.
        megabytes: Size of the file that the runtime reads.
        p50_ms: Median time per batch.
        p95_ms: 95th percentile of the time per batch.
        images_per_second: From the median.
        memory_mib: Peak memory that loading and running added to the process, or that torch
            allocated on a GPU; None if the system does not report it.
    """

    model: str
    runtime: Runtime
    device: str
    precision: str
    image_size: int
    batch: int
    threads: int
    parameters: int
    gflops: float
    megabytes: float
    p50_ms: float
    p95_ms: float
    images_per_second: float
    memory_mib: float | None


class _Subject(NamedTuple):
    """A model and a runtime to measure."""

    model: str | GraphDetector
    runtime: Runtime
    image_size: int
    parameters: int
    gflops: float
    precision: str


def bench(
    models: str | Path | GraphDetector | Sequence[str | Path | GraphDetector],
    *,
    runtime: Runtime | Sequence[Runtime] | None = None,
    device: str = "auto",
    img_size: int | None = None,
    batch_size: int = 1,
    repeats: int = 50,
    threads: int | None = None,
    half: bool = False,
) -> Iterator[Measurement]:
    """Measure models one after the other, each in its own process.

    Args:
        models: One or several run folders, weight files, architectures (with random weights),
            exported files, or detectors.
        runtime: ``torch``, ``onnx``, ``openvino``, ``ncnn``, ``litert``; a checkpoint is exported
            for all but the first. None: torch for checkpoints, else that of the file.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        img_size: Side of the images in pixels; None: that of each model.
        batch_size: Images per batch.
        repeats: Number of batches.
        threads: Threads on the CPU; None: the default of torch.
        half: Half precision: in torch on a GPU, else in the exported file.

    Yields:
        One measurement per model and runtime.

    Raises:
        WeightsError: A model cannot be read.
        ConfigError: A runtime cannot run a file, or the device or image size is not possible.
        MissingExtraError: A runtime is not installed.
    """
    where = choose_device(device)
    wanted = cast("Sequence[Runtime] | None", [runtime] if isinstance(runtime, str) else runtime)
    if half and where.type == "cpu" and "torch" in (wanted or TORCH):
        raise ConfigError(
            "--half in torch needs a GPU.",
            fix="Give another --runtime, or omit it.",
            code="C30",
        )
    listed = [models] if isinstance(models, str | Path | GraphDetector) else models
    named = [each if isinstance(each, GraphDetector) else str(each) for each in listed]
    subjects = [
        _subject(model, each, img_size, half=half)
        for model in named
        for each in _runtimes(model, wanted)
    ]
    threads = threads or torch.get_num_threads()
    for subject in subjects:
        yield _measured(subject, device=device, batch=batch_size, repeats=repeats, threads=threads)


def _native(model: str | GraphDetector) -> Runtime | None:
    """Return the runtime of an exported file; None for other models."""
    form = format_of(model) if isinstance(model, str) else None
    return None if form == "pt2" else form


def _runtimes(model: str | GraphDetector, wanted: Sequence[Runtime] | None) -> Sequence[Runtime]:
    native = _native(model)
    if native is None:
        return wanted or TORCH
    possible: tuple[Runtime, ...] = ("onnx", "openvino") if native == "onnx" else (native,)
    impossible = [each for each in wanted or () if each not in possible]
    if impossible:
        raise ConfigError(
            f"--runtime {impossible[0]} cannot run {model}.", fix="Give its checkpoint.", code="C30"
        )
    return wanted or (native,)


def _subject(
    model: str | GraphDetector, runtime: Runtime, image_size: int | None, *, half: bool
) -> _Subject:
    """Check a model and count its parameters, so that errors are reported before measuring."""
    require(*runtime_packages(runtime))
    if isinstance(model, str) and _native(model):
        if half:
            raise ConfigError(f"--half needs a checkpoint, not {model}.", code="C30")
        metadata = read_metadata(existing_file(model))
        size = image_size or metadata.image_size
        check_image_size(size, metadata.stride)
        if metadata.shape is not None:
            check_fixed_size(model, size, metadata.image_size)
        gflops = metadata.gflops * (size / metadata.image_size) ** 2
        return _Subject(model, runtime, size, metadata.parameters, gflops, metadata.precision)
    detector = load_source(model).detector.fused()
    size = image_size or trained_size(detector)
    check_image_size(size, max(detector.strides))
    return _Subject(model, runtime, size, *cost(detector, size), "float16" if half else "float32")


def _file(subject: _Subject, folder: Path) -> Path:
    """Return the file that the runtime reads; export it if needed."""
    model, half = subject.model, subject.precision == "float16"
    if isinstance(model, str) and _native(model):
        return Path(model)
    if isinstance(model, GraphDetector) or is_architecture(model):
        network = model if isinstance(model, GraphDetector) else load(model)
        model = folder / f"{network.arch_name}.safetensors"
        metadata = {**network.metadata, "image_size": subject.image_size}
        meta = header(network.arch, network.arch_name, network.names, network.strides, metadata)
        save_best(model, network.state_dict(), meta)
    if subject.runtime == "torch":
        return weight_file(model)
    size = subject.image_size
    return export(model, subject.runtime, out=folder, half=half, img_size=size).path


def _measured(
    subject: _Subject, *, device: str, batch: int, repeats: int, threads: int
) -> Measurement:
    with tempfile.TemporaryDirectory(prefix="tutelage-bench-") as folder:
        file = _file(subject, Path(folder))
        request = {
            "file": str(file),
            "runtime": subject.runtime,
            "device": device,
            "size": subject.image_size,
            "batch": batch,
            "repeats": repeats,
            "threads": threads,
            "half": subject.runtime == "torch" and subject.precision == "float16",
        }
        measured = _in_a_process(request)
        megabytes = sum(part.stat().st_size for part in files_of(file)) / 1e6
    model = subject.model
    title = model.arch_name if isinstance(model, GraphDetector) else model
    return Measurement(
        **subject._replace(model=title)._asdict(),
        device=measured["hardware"],
        batch=batch,
        threads=threads,
        megabytes=megabytes,
        p50_ms=measured["p50_ms"],
        p95_ms=measured["p95_ms"],
        images_per_second=1e3 * batch / measured["p50_ms"],
        memory_mib=measured["memory_mib"],
    )


def _in_a_process(request: Mapping[str, object]) -> dict:
    """Measure in a new process, without threads and memory of other models."""
    command = [sys.executable, "-m", "tutelage.deploy.bench_worker", json.dumps(request)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    try:
        answer = json.loads(process.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        reason = process.stderr.strip().splitlines() or ["it ended without a message"]
        raise UserError(f"Measuring {request['file']} failed: {reason[-1]}", code="R28") from None
    if "error" in answer:
        raise UserError(answer["error"], code="R28")
    return answer
