"""The training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.data_loader import DataLoaderShard
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from tutelage.structures import Batch, Losses
from tutelage.training.freed_memory import keep_freed_memory
from tutelage.training.schedule import Position, Schedule
from tutelage.training.supervision import SupervisedBatch
from tutelage.training.task import Task


class BatchDone(NamedTuple):
    """One batch is done: epoch, batches done in it, detached losses and ids (on the device)."""

    epoch: int
    batch: int
    losses: Losses
    ids: Tensor


class EpochEnded(NamedTuple):
    """One epoch is done."""

    epoch: int


def fit(
    accelerator: Accelerator,
    task: nn.Module,
    supervision: Callable[[Batch, Sequence[str]], SupervisedBatch] | None,
    optimizer: Optimizer,
    ema: AveragedModel,
    loader: DataLoaderShard,
    schedule: Schedule,
    at: Position = Position(),  # noqa: B008  (an immutable NamedTuple)
    resize: Callable[[Batch, int], Batch] | None = None,
) -> Iterator[BatchDone | EpochEnded]:
    """Train, yielding after every batch and every epoch.

    The consumer of the events decides what to show, save or stop: there are no callbacks.

    Args:
        accelerator: Devices, precision, processes.
        task: A :class:`~tutelage.training.task.Task`, prepared by ``accelerator`` (wrapped by DDP).
        supervision: From a batch and the active methods to what the teachers add
            (:class:`~tutelage.training.supervision.TeacherSupervision`); None for plain training.
        optimizer: Over the task's parameters, prepared.
        ema: Average of the bare student.
        loader: The training batches, prepared.
        schedule: Learning rate, accumulation and KD weights as functions of the step.
        at: Where to start.
        resize: Changes a batch's image size by the step (multi-scale), or None.
    """
    bare: Task = accelerator.unwrap_model(task)
    start = at.batch
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    for epoch in range(at.epoch, schedule.epochs):
        loader.set_epoch(epoch)
        task.train()
        bare.criterion.begin_epoch(closing=schedule.closing(epoch))
        accelerator.step = start  # the same accumulation phase after a resume
        batches = _from(accelerator, loader, start, schedule.steps)
        for step, raw in enumerate(batches, start):
            set_seed(schedule.seed_at(epoch, step), device_specific=True)
            schedule.apply(optimizer, accelerator, epoch, step)
            batch = raw.floating()
            if resize is not None:
                batch = resize(batch, schedule.step_at(epoch, step))
            taught = schedule.teaches(epoch, step)
            active = schedule.active(bare.methods, epoch, step) if taught else ()
            supervised = supervision(batch, active) if supervision else SupervisedBatch(batch)
            with accelerator.accumulate(task):
                losses: Losses = task(supervised)
                accelerator.backward(schedule.objective(losses, batch, accelerator, epoch, step))
                if accelerator.sync_gradients and schedule.max_norm:
                    accelerator.clip_grad_norm_(task.parameters(), schedule.max_norm)
                optimizer.step()
                optimizer.zero_grad()
            if accelerator.sync_gradients:
                ema.update_parameters(bare.student)
            yield BatchDone(epoch, step + 1, _detached(losses), batch.ids)
        start = 0
        yield EpochEnded(epoch)


def multi_scale(
    image_size: int, stride: int, seed: int, view_seed: int = 0
) -> Callable[[Batch, int], Batch]:
    """Return a function that resizes batches to 0.5..1.5 of ``image_size``.

    The size follows from the step; if images have views, from the view, so that it always looks the
    same.
    """

    def resize(batch: Batch, step: int) -> Batch:
        number = seed * 1_000_003 + step
        if batch.replay is not None:
            number = view_seed * 1_000_003 + int(batch.replay.view.amax())
        generator = torch.Generator().manual_seed(number)
        low, high = image_size // 2 // stride, (image_size * 3 // 2) // stride + 1
        side = int(torch.randint(max(low, 1), high, (), generator=generator)) * stride
        return _resized(batch, side, stride)

    return resize


def enlarged(batch: Batch, image_size: int, stride: int) -> Batch:
    """Return a batch at the largest size that :func:`multi_scale` gives."""
    return _resized(batch, (image_size * 3 // 2) // stride * stride, stride)


def _resized(batch: Batch, side: int, stride: int) -> Batch:
    """Resize the longer side of a batch to ``side``, both sides to multiples of ``stride``."""
    old_h, old_w = batch.image_size
    factor = side / max(old_h, old_w)
    h, w = (max(-(-round(x * factor) // stride), 1) * stride for x in (old_h, old_w))
    if (h, w) == (old_h, old_w):
        return batch
    images = F.interpolate(batch.images, (h, w), mode="bilinear", align_corners=False)
    ratio = batch.targets.xyxy.new_tensor([w / old_w, h / old_h, w / old_w, h / old_h])
    targets = batch.targets._replace(xyxy=batch.targets.xyxy * ratio)
    return batch._replace(images=images, targets=targets)


def _from(
    accelerator: Accelerator, loader: DataLoaderShard, start: int, steps: int
) -> Iterable[Any]:
    """Return the batches of an epoch from number ``start`` on; none at its end."""
    if start == 0:
        return loader
    if start >= steps:
        return ()
    return accelerator.skip_first_batches(loader, start)


def _detached(losses: Losses) -> Losses:
    return Losses(*({name: value.detach() for name, value in group.items()} for group in losses))
