"""Before the first step: the teacher is judged, the wiring proven, the weights are measured."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import torch
from accelerate.utils import broadcast, gather_object

from tutelage.errors import DataError
from tutelage.evaluation import Scores, collect, merge, score
from tutelage.models.graph import GraphDetector
from tutelage.run.events import Event, Notice
from tutelage.run.kd_weights import WeightMeasurements
from tutelage.run.preflight.teacher_scores import worth
from tutelage.run.preflight.wiring import preflight
from tutelage.setup.build import RunParts
from tutelage.structures import Batch, Predictions, height_width
from tutelage.teachers import fingerprint
from tutelage.train.schedule import Position


def prepare(parts: RunParts, readings: WeightMeasurements, at: Position) -> Iterator[Event]:
    """Prove that a distilled run can work; nothing is written.

    Args:
        parts: The parts of the run; the teachers' scores are added to their records.
        readings: Measure the weights of a run that begins.
        at: Where the run begins or goes on.

    Raises:
        DataError: No training batch holds a box.
        TeacherError: The teacher finds nothing, or would not reach the student.
    """
    distillation = parts.distillation
    if distillation is None:
        return
    if not readings.batches:
        raise DataError(
            "No training batch holds a box: the teacher has nothing to point at.", code="D26"
        )
    known: dict[str, float] = {}
    for number, record in enumerate(distillation.records):
        scores = worth(distillation, number, parts.val, parts.config, parts.accelerator.device)
        record["scores"] = scores
        if scores is None:
            text = f"The teacher {record['source']} shares no class with the data: not evaluated."
            yield Notice("info", text)
        else:
            known[str(record["source"])] = scores["AP"]
    if at == Position():
        yield from (Notice("warning", text, "T21") for text in outdone(parts, known))
    preflight(
        parts.bare,
        distillation.teachers,
        lambda: fingerprint(distillation.teachers.state()),
        readings.batches[0],
    )
    if at == Position() and distillation.shares:
        yield from readings.take(distillation, at, "before the first step")


def outdone(parts: RunParts, teachers: Mapping[str, float]) -> Iterator[str]:
    """Name the teachers above which a student with weights starts.

    Args:
        parts: The parts of the run.
        teachers: AP of each teacher on val, by its source.
    """
    if parts.config.model.weights is None or not teachers:
        return
    start = scores_on_val(parts, parts.bare.student).AP
    for source, ap in teachers.items():
        if ap < start:
            teacher, data = shlex.quote(source), shlex.quote(str(parts.config.data))
            yield (
                f"The teacher {source} scores AP {ap:.3f} on your val split, the student starts at "
                f"{start:.3f}. Distillation will pull it down. Fine-tune the teacher first: "
                f"tutelage train --weights {teacher} --data {data}"
            )


def scores_on_val(parts: RunParts, network: Any, batches: Iterable[Batch] | None = None) -> Scores:
    """Return the scores of a network on the val split, as it would be deployed.

    Several processes look at a share of the images each, and all return the scores of all images.
    BatchNorm has seen other images in each process: the first one's running statistics are taken.

    Args:
        parts: The parts of the run.
        network: The network.
        batches: Those of the val loader, if they are to be watched.
    """
    several = parts.accelerator.num_processes > 1
    if several:
        for buffer in network.buffers():
            broadcast(buffer)
    fused = cast("GraphDetector", network).fused().to(memory_format=torch.channels_last)

    def predict(images: torch.Tensor) -> Predictions:
        raw = cast("tuple[torch.Tensor, ...]", fused(images).raw)  # the head was run
        return fused.decode(raw, height_width(images))

    found = collect(
        predict,
        parts.val_loader if batches is None else batches,
        parts.val,
        device=parts.accelerator.device,
        letterbox=parts.val_loader.dataset.letterbox,
    )
    if several:
        found = merge(gather_object([found]))
    return score(parts.val, found.table)
