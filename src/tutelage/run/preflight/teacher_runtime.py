"""How the teachers of a run are run: chosen by measurement, and compared with float32 torch."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import NamedTuple, cast

from torch import Tensor

from tutelage.distill.scores import class_scores
from tutelage.errors import TeacherError, UserError, is_out_of_memory
from tutelage.run.events import Notice, Stage
from tutelage.setup.build import RunParts
from tutelage.setup.distributed import from_main_process
from tutelage.setup.teacher_runtime import fixed_size, has_bfloat16
from tutelage.structures import Batch, Knowledge, Predictions
from tutelage.teachers import NativeTeacher
from tutelage.teachers.runtimes import Forward, make_forward

LIMIT = 0.01  # of the difference of a score
LARGEST_GRAPH = 16  # images
TRIES = 3  # timed passes of each
MIN_SPEEDUP = 1.1  # over torch


class RuntimeDifference(NamedTuple):
    """How far what a teacher says is from its float32 reference.

    Attributes:
        scores: The largest difference of a class score (times objectness) of any candidate.
        features: The largest relative difference of a map: norm of the difference over the norm.
    """

    scores: float
    features: float


class RuntimeReading(NamedTuple):
    """Median seconds per pass, and the difference from the reference."""

    seconds: float
    difference: RuntimeDifference


def choose_runtimes(
    parts: RunParts, batches: Sequence[Batch], before: Sequence[str] = ()
) -> Iterator[Notice | Stage]:
    """Set how each teacher is run, and say so; all processes must call this.

    Args:
        parts: The parts of the run; its YOLOv7 and YOLOv5 teachers are changed in place.
        batches: Training batches.
        before: What a resumed run began with, per teacher.

    Raises:
        TeacherError: The runtime that is asked for fails.
    """
    setting = parts.config.distill.teacher_runtime
    if parts.distillation is None or setting == "torch" or not batches:
        return
    teachers = parts.distillation.teachers.teachers
    samples = [batch.floating().images for batch in batches]
    size = images_per_graph(parts)
    for number, teacher in enumerate(teachers):
        if not isinstance(teacher, NativeTeacher):
            if setting != "auto":
                yield Notice("info", f"{teacher.title} is run by its own library, not by {setting}")
            continue
        runtime = before[number] if number < len(before) else setting
        names = _candidates(parts) if runtime == "auto" else [runtime]
        ways = {
            name: make_forward(name, teacher.network, batch=size, samples=samples) for name in names
        }
        if runtime == "auto":
            yield Stage(f"timing the teacher by {', '.join(names)}")
            readings = from_main_process(
                parts.accelerator, lambda t=teacher, w=ways: measure(t, w, samples)
            )
            runtime = fastest(readings)
            text = f"teacher_runtime auto: {describe_readings(readings, runtime, len(samples[0]))}"
            yield Notice("info", text)
        if runtime != "torch":
            yield Stage(f"preparing the teacher for {runtime}")
            _use(teacher, runtime, ways[runtime], samples[0])
        if setting == runtime:
            yield _describe_difference(teacher, runtime, difference(teacher, samples))


def images_per_graph(parts: RunParts) -> int:
    """Return the images that a graph is compiled for: a batch in equal parts of at most 16."""
    batch, processes = parts.config.train.images, parts.accelerator.num_processes
    batch = min(batch, len(parts.train))
    if parts.unlabelled is not None:
        batch += max(round(parts.config.distill.images_ratio * batch), 1)
    each = -(-batch // processes)
    return -(-each // -(-each // LARGEST_GRAPH))


def measure(
    teacher: NativeTeacher, ways: Mapping[str, Forward], samples: Sequence[Tensor]
) -> dict[str, RuntimeReading]:
    """Time forward passes, in turn, and compare what they say; the teacher stays as it is.

    Args:
        teacher: A teacher.
        ways: Ways to run it by name, ``torch`` among them. One that fails is left out.
        samples: Batches of images; the first is timed, all are compared.
    """
    working: dict[str, NativeTeacher] = {}
    differences: dict[str, RuntimeDifference] = {}
    for name, forward in ways.items():
        way = teacher.reference()
        way.run_by(name, forward)
        try:
            differences[name] = difference(way, samples)
        except Exception as error:  # another library may fail in any way
            if name == "torch" or is_out_of_memory(error):
                raise
            continue
        working[name] = way
    times: dict[str, list[float]] = {name: [] for name in working}
    for _ in range(TRIES):
        for name, way in working.items():
            start = time.perf_counter()
            way(samples[0], predictions=True)
            times[name].append(time.perf_counter() - start)
    return {
        name: RuntimeReading(statistics.median(each), differences[name])
        for name, each in times.items()
    }


def difference(teacher: NativeTeacher, samples: Sequence[Tensor]) -> RuntimeDifference:
    """Compare what a teacher says of images with its reference."""
    reference = teacher.reference()
    found = [
        _apart(teacher(images, predictions=True), reference(images, predictions=True))
        for images in samples
    ]
    return RuntimeDifference(*(max(values) for values in zip(*found, strict=True)))


def fastest(readings: Mapping[str, RuntimeReading]) -> str:
    """Return the fastest runtime within ``LIMIT``; ``torch`` if none is clearly faster."""
    within = {n: r.seconds for n, r in readings.items() if r.difference.scores <= LIMIT}
    best = min(within, key=lambda name: within[name])
    return best if readings["torch"].seconds >= MIN_SPEEDUP * within[best] else "torch"


def describe_readings(readings: Mapping[str, RuntimeReading], chosen: str, images: int) -> str:
    """Return the choice with what was measured, as text."""
    each = [f"{name} {1e3 * reading.seconds:.0f} ms" for name, reading in readings.items()]
    apart = [f"by {n} up to {r.difference.scores:.3f}" for n, r in readings.items() if n != "torch"]
    return (
        f"{chosen} (for {images} images: {', '.join(each)}; scores differ {', '.join(apart)})"
        if apart
        else f"{chosen} (there is nothing else here)"
    )


def _candidates(parts: RunParts) -> list[str]:
    """Return what ``auto`` measures here. Compiling and integers take minutes to prepare."""
    names = ["torch"]
    if parts.accelerator.device.type == "cpu":
        names += ["bf16"] * has_bfloat16()
        names += ["openvino"] * (find_spec("openvino") is not None and fixed_size(parts.config))
    return names


def _use(teacher: NativeTeacher, runtime: str, forward: Forward, images: Tensor) -> None:
    """Run a teacher another way; the first pass, which compiles graphs, shows whether it works."""
    try:
        teacher.run_by(runtime, forward)
        teacher(images, predictions=True)
    except UserError:
        raise
    except Exception as error:  # another library may fail in any way
        if is_out_of_memory(error):
            raise
        reason = (str(error).strip().splitlines() or [""])[0]
        raise TeacherError(
            f"{teacher.title} cannot be run by {runtime}: {type(error).__name__}: {reason}",
            fix="Leave distill.teacher_runtime out.",
            code="T46",
        ) from error


def _describe_difference(teacher: NativeTeacher, runtime: str, apart: RuntimeDifference) -> Notice:
    text = (
        f"{teacher.title} by {runtime}: its scores differ from those of float32 torch by up to "
        f"{apart.scores:.4f}, its features by {100 * apart.features:.2g} %"
    )
    if apart.scores <= LIMIT:
        return Notice("info", text)
    return Notice("warning", f"{text}; more than {LIMIT:g} in a score is much", "T47")


def _apart(found: Knowledge, reference: Knowledge) -> RuntimeDifference:
    ours, theirs = (
        class_scores(cast("Predictions", knowledge.predictions)) for knowledge in (found, reference)
    )
    features = (
        float((a.float() - b.float()).norm() / b.float().norm().clamp(min=1e-30))
        for a, b in zip(found.features, reference.features, strict=True)
    )
    return RuntimeDifference(float((ours - theirs).abs().max()), max(features))
