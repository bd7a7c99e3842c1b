"""``--batch-size auto``: finds the largest batch that fits, by real steps before the run.

Only divisors of the nominal batch are tried, so that gradients accumulate to exactly that number:
the run is the same as with any other batch, apart from BatchNorm. The steps are those of the run:
teacher, methods and optimizer in place, the first images of the first epoch, at the largest size.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from accelerate.utils import gather_object

from tutelage.config.schema import Config
from tutelage.errors import ConfigError, TrainingError, is_out_of_memory
from tutelage.run.out_of_memory import current_memory, memory_of, peak_memory
from tutelage.setup.build import RunParts, build_run, make_training_loader
from tutelage.setup.distributed import check_batch
from tutelage.structures import Batch
from tutelage.training.loop import enlarged
from tutelage.training.supervision import SupervisedBatch

STEPS = 2  # the second has the optimizer's state beside the activations
SHARE = 0.9  # of the memory to use: batches differ in boxes, and other processes need some
TRIAL = 16  # any number: the loader of this batch is not used


class FittedBatch(NamedTuple):
    """Settings with a batch that fits, where each came from, and lines to show."""

    config: Config
    origins: Mapping[str, str]
    notices: tuple[str, ...] = ()


def fit_batch(config: Config, origins: Mapping[str, str] | None = None) -> FittedBatch:
    """Replace ``train.batch: auto`` by the largest batch that fits; all processes agree.

    Args:
        config: All settings; a batch that is a number stays.
        origins: Where each came from.

    Raises:
        TrainingError: Not even the smallest batch fits.
        UserError: Anything else that keeps the run from starting.
    """
    origins = dict(origins or {})
    if config.train.batch != "auto":
        return FittedBatch(config, origins)
    nominal, batch, limit = _find(config, origins)
    gc.collect()  # the parts hold each other
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if not batch:
        raise TrainingError(
            "Not even the smallest batch fits into memory.",
            fix=f"Try an --img-size below {config.train.image_size}, or a smaller model.",
            code="R13",
        )
    origin = origins.get("train.batch", "train.batch")
    origins["train.batch"] = f"{origin}: auto"
    why = f"{limit} do not fit" if batch < nominal else "more would change the nominal batch"
    text = f"batch auto: {batch} images per step ({why}); gradients accumulate to {nominal}"
    train = config.train.model_copy(update={"batch": batch})
    return FittedBatch(config.model_copy(update={"train": train}), origins, (text,))


def candidate_batches(nominal: int, processes: int, images: int) -> list[int]:
    """Return the divisors of the nominal batch that can be split evenly between processes."""
    batches = [n for n in range(1, nominal + 1) if nominal % n == 0 and n % processes == 0]
    return [n for n in batches if n // processes <= images] or [processes]


def _find(config: Config, origins: Mapping[str, str]) -> tuple[int, int, int]:
    """Return the nominal batch, the largest that fits (0: none) and the first that does not."""
    train = config.train.model_copy(update={"batch": TRIAL, "workers": 0, "cache_images": "none"})
    parts = build_run(
        config.model_copy(update={"train": train}), origins, keep_threads=True, trial=True
    )
    processes = parts.accelerator.num_processes
    batches = [
        batch
        for batch in candidate_batches(parts.schedule.nominal_batch, processes, len(parts.train))
        if _is_trainable(config, parts, batch)
    ]
    largest = max(_fitting(parts, [batch // processes for batch in batches]), default=0)
    fitting = min(gather_object([largest])) * processes
    larger = [batch for batch in batches if batch > fitting]
    return parts.schedule.nominal_batch, fitting, larger[0] if larger else fitting


def _is_trainable(config: Config, parts: RunParts, batch: int) -> bool:
    """Return whether all processes, and BatchNorm, can train with a batch."""
    processes = parts.accelerator.num_processes
    train = config.train.model_copy(update={"batch": batch})
    try:
        check_batch(train, max(parts.student.strides), len(parts.train), processes)
    except ConfigError:
        return False
    return True


def _fitting(parts: RunParts, counts: list[int]) -> Iterator[int]:
    """Yield the numbers of images that fit, ascending, up to the first that does not."""
    device = parts.accelerator.device
    before: tuple[int, int] | None = None  # images, and peak memory
    slope = 0.0
    for count in counts:
        if device.type == "cpu" and before is not None:
            expected = before[1] + slope * (count - before[0])
            if expected > _allowed(parts):  # the system would kill the process
                return
        try:
            run_steps(parts, count)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return
        finally:
            parts.optimizer.zero_grad()
            gc.collect()
        if device.type == "cpu":
            peak = peak_memory()
            if peak > _allowed(parts):
                return
            if before is not None:
                slope = max((peak - before[1]) / (count - before[0]), slope)
            before = (count, peak)
        else:
            used, total = memory_of(device)  # the allocator keeps its peak
            if used > SHARE * total:
                return
            if device.type == "cuda":
                torch.cuda.empty_cache()
        yield count


def _allowed(parts: RunParts) -> float:
    """Return how much main memory this process may use, in bytes."""
    used, total = memory_of(torch.device("cpu"))
    return current_memory() + SHARE * (total - used) / parts.accelerator.num_processes


def run_steps(parts: RunParts, count: int) -> None:
    """Take training steps with ``count`` images; the parts are thrown away later."""
    config = parts.config
    loader = make_training_loader(
        config,
        parts.train,
        batch=count,
        workers=0,
        stride=parts.stride,
        unlabelled=parts.unlabelled,
    )
    loader.batch_sampler.set_epoch(0)
    raw: Batch = next(iter(loader))
    device = parts.accelerator.device
    batch = raw.to(device).floating()
    if config.train.multi_scale:
        batch = enlarged(batch, config.train.image_size, parts.stride)
    task = parts.unwrapped_task.train()
    for _ in range(STEPS):
        supervised = SupervisedBatch(batch)
        if parts.supervision is not None:
            supervised = parts.supervision(batch, tuple(task.methods))
        losses = task(supervised)
        terms = [value for group in losses for value in group.values()]
        parts.accelerator.backward(torch.stack(terms).sum())
        parts.optimizer.step()
        parts.optimizer.zero_grad()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
