"""Warnings before the first step of a distilled run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from tutelage.distill.method import Method, Need
from tutelage.distill.methods import SPKD
from tutelage.distill.scores import candidate_scores
from tutelage.distill.teacher_selection import detection_quality
from tutelage.run.events import Notice
from tutelage.run.monitors.rank_checksums import check_ranks
from tutelage.setup.build import RunParts
from tutelage.structures import Batch, Knowledge, Predictions, Tap, Targets
from tutelage.teachers import Teacher
from tutelage.teachers.recorded import RecordedTeacher
from tutelage.training.gradient_ratio import buffers_restored

LEAST_IMAGES: Mapping[type[Method], int] = {SPKD: 4}  # compares images of a batch with each other
DEAD = 1e-6  # standard deviation of a channel relative to that of its whole map
MANY_DEAD = 0.1  # of the channels of a map
BGR_GAIN = 0.1  # in score × IoU of its boxes, of a teacher that was trained on BGR
UNSURE = 0.05  # best score of a teacher per image with boxes, averaged


def check_setup(parts: RunParts, batches: Sequence[Batch]) -> Iterator[Notice]:
    """Yield warnings about batch size, channels and teachers; changes nothing.

    Of the batches, which have boxes, the first is used.

    Raises:
        TrainingError: The processes hold different methods.
    """
    if parts.distillation is None:
        return
    methods = parts.unwrapped_task.methods
    check_ranks(parts.accelerator, methods, "before the first step")
    images = max(parts.config.train.images // parts.accelerator.num_processes, 1)
    texts = [*few_images(methods, images), *_check_outputs(parts, batches)]
    yield from (Notice("warning", text, "T32") for text in texts)


def few_images(methods: nn.ModuleDict, images: int) -> Iterator[str]:
    """Yield a warning per method that compares images of a batch, if a process has too few."""
    for name, method in methods.items():
        for kind, least in LEAST_IMAGES.items():
            if images < least and any(isinstance(m, kind) for m in method.modules()):
                yield (
                    f"{name} compares the images of a batch: it needs at least {least} per "
                    f"process, and there are {images}. Use  --batch-size"
                )


def dead_channels(feature: Tensor) -> int:
    """Count the channels of a map ``(b, c, h, w)`` that are constant over all images and cells."""
    x = feature.detach().float()
    return int((x.std((0, 2, 3)) <= DEAD * x.std()).sum())


def best_score(knowledge: Knowledge, targets: Targets) -> float | None:
    """Return the teacher's best score per image with boxes, averaged; None without such images."""
    if knowledge.predictions is None or not len(targets.image):
        return None
    scores = candidate_scores(knowledge.predictions)[targets.image.unique()]
    return scores.amax(1).mean().item() if scores.shape[1] else 0.0


@torch.no_grad()
def _check_outputs(parts: RunParts, batches: Sequence[Batch]) -> Iterator[str]:
    """Yield warnings about the outputs of all networks for the first batch."""
    if parts.distillation is None or not batches:
        return
    batch, task = batches[0].floating(), parts.unwrapped_task
    with buffers_restored(task):
        features = task.train().student(batch.images, task.taps).taps
    yield from _check_channels("student", parts.student.tap(task.taps), features)
    teachers = parts.distillation.teachers.teachers
    for teacher, columns in zip(teachers, parts.distillation.columns, strict=True):
        if not isinstance(teacher, RecordedTeacher):  # it can be asked nothing new
            yield from _check_colours(teacher, columns, batch)
    for number, knowledge in enumerate(parts.distillation.teachers(batch)):
        yield from _check_channels("teacher", teachers[number].taps, knowledge.features)
        methods = [
            name
            for name, method in task.methods.items()
            if Need.PREDICTIONS in cast("Method", method).needs
            and task.views[name].teacher == number
        ]
        score = best_score(knowledge, batch.targets)
        if methods and score is not None and score < UNSURE:
            yield (
                f"{teachers[number].title} is hardly sure of anything in these images: its best "
                f"score in each is {score:.2g} on average. {', '.join(methods)} will learn "
                "little from such scores. Does it know these classes?"
            )


def _check_colours(teacher: Teacher, columns: Sequence[int], batch: Batch) -> Iterator[str]:
    """Warn of a teacher that finds more when red and blue are exchanged (KD-16)."""
    if max(columns, default=-1) < 0:  # no class in common: it may not even predict
        return
    rgb, bgr = (
        detection_quality(cast("Predictions", knowledge.predictions), columns, batch.targets)
        .mean()
        .item()
        for knowledge in (
            teacher(images, predictions=True) for images in (batch.images, batch.images.flip(1))
        )
    )
    if bgr > rgb + BGR_GAIN:
        yield (
            f"{teacher.title} finds more when red and blue are exchanged (score × IoU "
            f"{bgr:.2f} instead of {rgb:.2f}): it was trained on BGR images. Images "
            "here are RGB; a teacher of your own can exchange them itself: "
            "FeatureTeacher(..., bgr=True)"
        )


def _check_channels(network: str, taps: Sequence[Tap], features: Sequence[Tensor]) -> Iterator[str]:
    for tap, feature in zip(taps, features, strict=True):
        dead = (
            dead_channels(feature) if feature.numel() else 0
        )  # what no method reads is not stored
        if dead > MANY_DEAD * tap.channels:
            yield (
                f"{dead} of {tap.channels} channels of the {network}'s layer {tap.key} are "
                f"constant: there is nothing to compare in them. Another layer may do better: "
                f"--{network}-kd-layers"
            )
