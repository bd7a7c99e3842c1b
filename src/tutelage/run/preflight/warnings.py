"""What is noticed before the first step of a distilled run, and does not keep it from starting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from tutelage.distill.method import Method, Need
from tutelage.distill.methods import SPKD
from tutelage.distill.scores import candidate_scores
from tutelage.distill.teacher_selection import worth_per_image
from tutelage.run.events import Notice
from tutelage.run.monitors.watch import check_ranks
from tutelage.setup.build import RunParts
from tutelage.structures import Batch, Knowledge, Predictions, Tap, Targets
from tutelage.teachers import Teacher
from tutelage.train.gradient_ratio import buffers_restored

LEAST_IMAGES: Mapping[type[Method], int] = {SPKD: 4}  # compares images of a batch with each other
DEAD = 1e-6  # a channel's deviation over that of its whole map
MANY_DEAD = 0.1  # of the channels of a map
BGR = 0.1  # gain in score × IoU of a teacher's boxes from which other channels are what it knows
UNSURE = 0.05  # a teacher's best score in an image with boxes, on average


def at_outset(parts: RunParts, batches: Sequence[Batch]) -> Iterator[Notice]:
    """Look at a run that is about to start; nothing in it changes.

    Args:
        parts: The parts of the run.
        batches: Batches with boxes; the first is looked at.

    Raises:
        TrainingError: The processes hold different methods.
    """
    if parts.distillation is None:
        return
    check_ranks(parts.accelerator, parts.bare.methods, "before the first step")
    images = max(parts.config.train.images // parts.accelerator.num_processes, 1)
    told = [*few_images(parts.bare.methods, images), *_seen(parts, batches)]
    yield from (Notice("warning", text, "T32") for text in told)


def few_images(methods: nn.ModuleDict, images: int) -> Iterator[str]:
    """Name methods that compare the images of a batch, where a process has too few of them."""
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


def best_score(known: Knowledge, targets: Targets) -> float | None:
    """Return the teacher's best score in each image that has boxes, on average; None of none."""
    if known.predictions is None or not len(targets.image):
        return None
    scores = candidate_scores(known.predictions)[targets.image.unique()]
    return scores.amax(1).mean().item() if scores.shape[1] else 0.0


@torch.no_grad()
def _seen(parts: RunParts, batches: Sequence[Batch]) -> Iterator[str]:
    """Show the first batch to all networks."""
    if parts.distillation is None or not batches:
        return
    batch, task = batches[0].floating(), parts.bare
    with buffers_restored(task):
        ours = task.train().student(batch.images, task.taps).taps
    yield from _dead("student", parts.student.tap(task.taps), ours)
    teachers = parts.distillation.teachers.teachers
    for teacher, columns in zip(teachers, parts.distillation.columns, strict=True):
        yield from _exchanged(teacher, columns, batch)
    for number, known in enumerate(parts.distillation.teachers(batch)):
        yield from _dead("teacher", teachers[number].taps, known.features)
        listening = [
            name
            for name, method in task.methods.items()
            if Need.PREDICTIONS in cast("Method", method).needs
            and task.views[name].teacher == number
        ]
        score = best_score(known, batch.targets)
        if listening and score is not None and score < UNSURE:
            yield (
                f"{teachers[number].title} is hardly sure of anything in these images: its best "
                f"score in each is {score:.2g} on average. {', '.join(listening)} will learn "
                "little from such scores. Does it know these classes?"
            )


def _exchanged(teacher: Teacher, columns: Sequence[int], batch: Batch) -> Iterator[str]:
    """Tell a teacher that finds the boxes better when red and blue are exchanged (KD-16)."""
    if max(columns, default=-1) < 0:  # no class in common: it may not even predict
        return
    straight, exchanged = (
        worth_per_image(cast("Predictions", known.predictions), columns, batch.targets)
        .mean()
        .item()
        for known in (
            teacher(images, predictions=True) for images in (batch.images, batch.images.flip(1))
        )
    )
    if exchanged > straight + BGR:
        yield (
            f"{teacher.title} finds more when red and blue are exchanged (score × IoU "
            f"{exchanged:.2f} instead of {straight:.2f}): it was trained on BGR images. Images "
            "here are RGB; a teacher of your own can exchange them itself: "
            "FeatureTeacher(..., bgr=True)"
        )


def _dead(who: str, taps: Sequence[Tap], features: Sequence[Tensor]) -> Iterator[str]:
    for tap, feature in zip(taps, features, strict=True):
        dead = dead_channels(feature)
        if dead > MANY_DEAD * tap.channels:
            yield (
                f"{dead} of {tap.channels} channels of the {who}'s layer {tap.key} are constant: "
                f"there is nothing to compare in them. Another layer may do better: "
                f"--{who}-kd-layers"
            )
