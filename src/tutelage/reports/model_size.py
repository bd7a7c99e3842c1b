"""Size and speed of the networks of a report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch

from tutelage.deploy.formats import files_of, format_of
from tutelage.deploy.runtime import open_model
from tutelage.errors import UserError
from tutelage.evaluation.speed import Latency, latency, timed
from tutelage.models.build import load
from tutelage.models.cost import cost
from tutelage.models.detector import Detector
from tutelage.models.weight_file import BEST
from tutelage.reports.runs import RunFiles
from tutelage.teachers import NativeTeacher, Teacher

SECONDS = 1.0  # of each measurement of speed


class ModelSize(NamedTuple):
    """Size and speed of a network.

    Attributes:
        parameters: Of the folded network.
        gflops: Operations per image in 1e9, at the size of the training.
        file_bytes: Size of its file; 0: not known.
        latency: Milliseconds per image on this machine, one image at a time, without NMS.
    """

    parameters: int
    gflops: float
    file_bytes: int
    latency: Latency


class ExportSize(NamedTuple):
    """Size and speed of an exported file.

    Attributes:
        name: Of the file.
        file_bytes: Its size, with the files that belong to it.
        latency: As in :class:`ModelSize`, in the runtime of its format; None: not measured.
    """

    name: str
    file_bytes: int
    latency: Latency | None


def student_size(run: RunFiles, known: dict[str, ModelSize]) -> ModelSize:
    """Return the size of a run's student.

    Args:
        run: The run.
        known: Sizes by architecture; students of one architecture are equally fast.

    Raises:
        UserError: Its weights cannot be read.
        OSError: They are not there.
    """
    path: Path = run.folder / BEST
    size = path.stat().st_size
    detector = load(str(run.folder))
    key = f"{detector.arch_name} {len(detector.names)} {run.config.train.image_size}"
    if key not in known:
        known[key] = _measure(detector.fused(), run.config.train.image_size, size)
    return known[key]._replace(file_bytes=size)


def teacher_size(teacher: Teacher, image_size: int) -> ModelSize | None:
    """Return the size of a teacher; None for networks of other libraries."""
    if not isinstance(teacher, NativeTeacher):
        return None
    size = teacher.record.get("bytes")
    return _measure(teacher.network, image_size, size if isinstance(size, int) else 0)


def _measure(fused: Detector, image_size: int, file_bytes: int) -> ModelSize:
    size = cost(fused, image_size)
    with torch.inference_mode():
        speed = latency(fused, image_size, seconds=SECONDS)
    return ModelSize(size.parameters, size.gflops, file_bytes, speed)


def export_sizes(run: RunFiles) -> Iterator[ExportSize]:
    """Yield what was exported into the folder of a run, measured where its runtime is installed."""
    for path in sorted(run.folder.iterdir()):
        if format_of(path) is not None:
            parts = [part for part in files_of(path) if part.is_file()]
            speed = None
            with suppress(UserError):
                speed = _export_latency(path)
            yield ExportSize(path.name, sum(part.stat().st_size for part in parts), speed)


def _export_latency(path: Path) -> Latency:
    model = open_model(path, "cpu")
    size = model.size(None)
    images = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    return timed(lambda: model.network(images), seconds=SECONDS)
