"""Before the first step: evaluates the teachers, checks the wiring, measures the method weights."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from accelerate.utils import broadcast, gather_object

from tutelage.data.check.boxes import similar_key
from tutelage.errors import DataError
from tutelage.evaluation import Scores, collect, merge, score
from tutelage.models.graph import GraphDetector
from tutelage.run.events import Event, Notice, Stage
from tutelage.run.kd_weights import WeightMeasurements
from tutelage.run.preflight.teacher_scores import evaluate_teacher, size_warning, use_thresholds
from tutelage.run.preflight.wiring import check_wiring
from tutelage.run.stored_answers import release_teachers
from tutelage.setup.build import RunParts, precision_of_checks
from tutelage.setup.distillation import DistillationSetup
from tutelage.setup.distributed import from_main_process, raise_on_all
from tutelage.structures import Batch, Predictions, height_width
from tutelage.teachers.recorded import RecordedTeacher
from tutelage.training.freed_memory import return_freed_memory
from tutelage.training.schedule import Position


def check_distillation(
    parts: RunParts, weights: WeightMeasurements, position: Position
) -> Iterator[Event]:
    """Check that a distilled run can work; writes nothing.

    All processes raise an error together, whichever of them found it.

    Args:
        parts: The parts of the run; the teachers' scores are added to their records.
        weights: Measures the weights of a new run.
        position: Where the run starts or continues.

    Raises:
        DataError: No training batch has a box.
        TeacherError: A teacher finds nothing, or would not reach the student.
    """
    distillation = parts.distillation
    if distillation is None:
        return
    if not weights.batches:
        raise DataError(
            "No training batch holds a box: the teacher has nothing to point at.", code="D26"
        )
    yield from judge_teachers(parts, distillation, warn=position == Position())
    use_thresholds(parts.unwrapped_task.views, distillation.records)
    if position == Position():
        teacher_ap = {
            str(record["source"]): record["scores"]["AP"]
            for record in distillation.records
            if record["scores"] is not None
        }
        if parts.config.model.weights is not None:
            yield Stage("evaluating the student before training")
        yield from (Notice("warning", text, "T21") for text in weaker_teachers(parts, teacher_ap))
    release_teachers(parts)  # if all is stored, nobody asks them any more
    yield Stage("checking that teaching reaches the student")
    with raise_on_all(), precision_of_checks(parts.accelerator):
        check_wiring(parts.unwrapped_task, distillation.teachers, weights.batches[0])
    return_freed_memory()
    if position == Position() and distillation.shares:
        yield from weights.measure(distillation, position, "before the first step")


def judge_teachers(
    parts: RunParts, distillation: DistillationSetup, *, warn: bool
) -> Iterator[Notice | Stage]:
    """Evaluate the teachers on val; that of a store has the scores of when it was filled.

    Args:
        parts: The parts of the run.
        distillation: Its teachers; the scores are added to their records.
        warn: Warn of a teacher of another image size.

    Raises:
        TeacherError: A teacher finds nothing.
    """
    accelerator = parts.accelerator
    for number, record in enumerate(distillation.records):
        teacher = distillation.teachers.teachers[number]
        apart = size_warning(record, parts.config.train.image_size)
        if apart and warn:
            yield Notice("warning", apart, "T33")
        if isinstance(teacher, RecordedTeacher):
            if record.setdefault("scores", None) is None:
                yield Notice(
                    "info",
                    f"The teacher {record['source']} is a store and was not judged when it was "
                    "filled.",
                )
            continue
        yield Stage(f"evaluating the teacher {record['source']}")
        record["scores"] = teacher.record["scores"] = from_main_process(
            accelerator,
            lambda n=number: evaluate_teacher(
                distillation, n, parts.val, parts.config, accelerator.device
            ),
        )
        if record["scores"] is None:
            yield Notice("warning", no_common_class(record, parts.train.names), "T38")


def no_common_class(record: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return that no class of a teacher has the name of one of the data, and pairs that look alike.

    Args:
        record: Identity of the teacher.
        names: Class names of the data.
    """
    theirs = {similar_key(name): name for name in record["names"]}
    alike = [f"{name}: {theirs[key]}" for name in names if (key := similar_key(name)) in theirs]
    text = (
        f"No class of the teacher {record['source']} has the name of a class of the data: how good "
        "it is on them is not known, and its features alone can teach."
    )
    if alike:
        text += f" If they mean the same:  --set distill.classes='{{{', '.join(alike)}}}'"
    return text


def weaker_teachers(parts: RunParts, teacher_ap: Mapping[str, float]) -> Iterator[str]:
    """Yield a warning for each teacher that a student with trained weights already exceeds.

    ``teacher_ap`` is the AP of each teacher on val by its source.
    """
    if parts.config.model.weights is None or not teacher_ap:
        return
    start = evaluate_on_val(parts, parts.unwrapped_task.student).AP
    for source, ap in teacher_ap.items():
        if ap < start:
            teacher, data = shlex.quote(source), shlex.quote(str(parts.config.data))
            yield (
                f"The teacher {source} scores AP {ap:.3f} on your val split, the student starts at "
                f"{start:.3f}. Distillation will pull it down. Fine-tune the teacher first: "
                f"tutelage train --weights {teacher} --data {data}"
            )


def evaluate_on_val(
    parts: RunParts, network: Any, batches: Iterable[Batch] | None = None
) -> Scores:
    """Return the scores of a network, its layers fused as for deployment, on the val split.

    Each process evaluates a part of the images, and all return the scores of all images. BatchNorm
    statistics are those of the main process.

    Args:
        parts: The parts of the run.
        network: The network.
        batches: Batches of the val loader; by default the loader itself.
    """
    several = parts.accelerator.num_processes > 1
    if several:
        for buffer in network.buffers():
            broadcast(buffer)
    return_freed_memory()  # maps of training and of evaluation have other sizes: see there
    fused = cast("GraphDetector", network).fused().to(memory_format=torch.channels_last)

    def predict(images: torch.Tensor) -> Predictions:
        raw = cast("tuple[torch.Tensor, ...]", fused(images).raw)  # the head was run
        return fused.decode(raw, height_width(images))

    collected = collect(
        predict,
        parts.val_loader if batches is None else batches,
        parts.val,
        device=parts.accelerator.device,
        letterbox=parts.val_loader.dataset.letterbox,
    )
    return_freed_memory()
    if several:
        collected = merge(gather_object([collected]))
    return score(parts.val, collected.table)
