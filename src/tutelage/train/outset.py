"""What is noticed before the first step of a distilled run, and does not keep it from starting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from tutelage.distill.method import Method
from tutelage.distill.methods import SPKD
from tutelage.structures import Batch, Tap
from tutelage.train.assemble import Parts
from tutelage.train.calibrate import buffers_restored
from tutelage.train.events import Notice
from tutelage.train.watch import check_ranks

LEAST_IMAGES: Mapping[type[Method], int] = {SPKD: 4}  # compares images of a batch with each other
DEAD = 1e-6  # a channel's deviation over that of its whole map
MANY_DEAD = 0.1  # of the channels of a map


def at_outset(parts: Parts, batches: Sequence[Batch]) -> Iterator[Notice]:
    """Look at a run that is about to start; nothing in it changes.

    Args:
        parts: The parts of the run.
        batches: Batches with boxes; the first is looked at.

    Raises:
        TrainingError: The processes hold different methods.
    """
    if parts.teaching is None:
        return
    check_ranks(parts.accelerator, parts.bare.methods, "before the first step")
    images = max(parts.config.train.batch // parts.accelerator.num_processes, 1)
    told = [*few_images(parts.bare.methods, images), *_dead(parts, batches)]
    yield from (Notice("warning", text) for text in told)


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


@torch.no_grad()
def _dead(parts: Parts, batches: Sequence[Batch]) -> Iterator[str]:
    teaching, task = parts.teaching, parts.bare
    if teaching is None or not batches:
        return
    images = batches[0].floating().images
    with buffers_restored(task):
        ours = task.train().student(images, task.taps).taps
    sides: list[tuple[str, Sequence[Tap], Sequence[Tensor]]] = [
        ("student", parts.student.tap(task.taps), ours)
    ]
    for teacher, known in zip(teaching.panel.teachers, teaching.panel(images), strict=True):
        sides.append(("teacher", teacher.taps, known.features))
    for who, taps, features in sides:
        for tap, feature in zip(taps, features, strict=True):
            dead = dead_channels(feature)
            if dead > MANY_DEAD * tap.channels:
                yield (
                    f"{dead} of {tap.channels} channels of the {who}'s layer {tap.key} are "
                    "constant: there is nothing to compare in them. Another layer may do better: "
                    f"--{who}-kd-layers"
                )
