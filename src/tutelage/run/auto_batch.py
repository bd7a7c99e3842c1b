"""``--batch-size auto``: the largest batch that fits, found by real steps before the run.

Only divisors of the nominal batch are tried, so that gradients add up to exactly that number: the
run is the same as with any other batch, apart from BatchNorm. The steps are those of the run:
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
from tutelage.run.out_of_memory import held_now, highest, room
from tutelage.setup.build import RunParts, assemble, make_training_loader
from tutelage.setup.distributed import check_batch
from tutelage.structures import Batch
from tutelage.train.loop import enlarged
from tutelage.train.supervision import SupervisedBatch

STEPS = 2  # the second has the optimizer's state beside the activations
SHARE = 0.9  # of the memory that may be used: batches differ in boxes, and others use it, too
TRIAL = 16  # any number: the parts are built for it, and not run


class FittedBatch(NamedTuple):
    """Settings with a batch that fits, where each came from, and what to tell."""

    config: Config
    origins: Mapping[str, str]
    told: tuple[str, ...] = ()


def fit_batch(config: Config, origins: Mapping[str, str] | None = None) -> FittedBatch:
    """Replace ``train.batch: auto`` by the largest batch that fits; all processes agree.

    Args:
        config: All settings. A batch that is a number stays.
        origins: Where each came from.

    Raises:
        TrainingError: Not even the smallest batch fits.
        UserError: Anything else that keeps the run from starting.
    """
    origins = dict(origins or {})
    if config.train.batch != "auto":
        return FittedBatch(config, origins)
    largest, found, limit = _find(config, origins)
    gc.collect()  # the parts hold each other
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if not found:
        raise TrainingError(
            "Not even the smallest batch fits into memory.",
            fix=f"Try an --img-size below {config.train.image_size}, or a smaller model.",
            code="R13",
        )
    origin = origins.get("train.batch", "train.batch")
    origins["train.batch"] = f"{origin}: auto"
    why = f"{limit} do not fit" if found < largest else "more would change the nominal batch"
    told = f"batch auto: {found} images per step ({why}); gradients accumulate to {largest}"
    train = config.train.model_copy(update={"batch": found})
    return FittedBatch(config.model_copy(update={"train": train}), origins, (told,))


def sizes(nominal: int, processes: int, images: int) -> list[int]:
    """Return the batches to try: divisors of the nominal batch that the processes can share."""
    found = [n for n in range(1, nominal + 1) if nominal % n == 0 and n % processes == 0]
    return [n for n in found if n // processes <= images] or [processes]


def _find(config: Config, origins: Mapping[str, str]) -> tuple[int, int, int]:
    """Return the nominal batch, the largest that fits (0: none) and the first that does not."""
    train = config.train.model_copy(update={"batch": TRIAL, "workers": 0, "cache_images": "none"})
    parts = assemble(
        config.model_copy(update={"train": train}), origins, keep_threads=True, trial=True
    )
    processes = parts.accelerator.num_processes
    allowed = [
        size
        for size in sizes(parts.schedule.nominal_batch, processes, len(parts.train))
        if _balanced(config, parts, size)
    ]
    mine = 0
    for size in _fitting(parts, [size // processes for size in allowed]):
        mine = size
    found = min(gather_object([mine])) * processes
    above = [size for size in allowed if size > found]
    return parts.schedule.nominal_batch, found, above[0] if above else found


def _balanced(config: Config, parts: RunParts, size: int) -> bool:
    """Whether all processes, and BatchNorm, can train with a batch."""
    processes = parts.accelerator.num_processes
    train = config.train.model_copy(update={"batch": size})
    try:
        check_batch(train, max(parts.student.strides), len(parts.train), processes)
    except ConfigError:
        return False
    return True


def _fitting(parts: RunParts, counts: list[int]) -> Iterator[int]:
    """Yield how many images fit, ascending, up to the first that do not."""
    device = parts.accelerator.device
    before: tuple[int, int] | None = None  # images, and the most memory so far
    slope = 0.0
    for count in counts:
        if device.type == "cpu" and before is not None:
            expected = before[1] + slope * (count - before[0])
            if expected > _allowed(parts):  # the system would kill the process, not tell it
                return
        try:
            steps(parts, count)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return
        finally:
            parts.optimizer.zero_grad()
            gc.collect()
        if device.type == "cpu":
            top = highest()
            if top > _allowed(parts):
                return
            if before is not None:
                slope = max((top - before[1]) / (count - before[0]), slope)
            before = (count, top)
        else:
            used, total = room(device)  # the allocator keeps what it needed at the most
            if used > SHARE * total:
                return
            if device.type == "cuda":
                torch.cuda.empty_cache()
        yield count


def _allowed(parts: RunParts) -> float:
    """Return the bytes of main memory that this process may come to hold."""
    used, total = room(torch.device("cpu"))
    return held_now() + SHARE * (total - used) / parts.accelerator.num_processes


def steps(parts: RunParts, count: int) -> None:
    """Take steps as the run does, with ``count`` images; what they change is thrown away."""
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
    parts.bare.train()
    for _ in range(STEPS):
        supervised = SupervisedBatch(batch)
        if parts.supervision is not None:
            supervised = parts.supervision(batch, tuple(parts.bare.methods))
        losses = parts.bare(supervised)
        terms = [value for group in losses for value in group.values()]
        parts.accelerator.backward(torch.stack(terms).sum())
        parts.optimizer.step()
        parts.optimizer.zero_grad()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
