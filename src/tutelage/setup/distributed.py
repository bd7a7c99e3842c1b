"""Training with several processes: checks of settings, and results that all processes share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import nn

from tutelage.config.schema import TrainConfig
from tutelage.errors import ConfigError, UserError

T = TypeVar("T")


def from_main_process(accelerator: Accelerator, compute: Callable[[], T]) -> T:
    """Compute on the main process alone; all processes return its result or raise its error.

    Args:
        accelerator: Joins the processes; each must call this.
        compute: Its result can be pickled.

    Raises:
        UserError: What ``compute`` raised.
    """
    outcome: list[Any] = [None]
    with raise_on_all():
        if accelerator.is_main_process:
            outcome = [compute()]
    return cast("T", broadcast_object_list(outcome)[0])


@contextmanager
def raise_on_all() -> Iterator[None]:
    """Raise an error of one process on all, so that none waits for one that has stopped.

    All processes must enter the context.

    Raises:
        UserError: What the first of the processes with an error raised inside.
    """
    error: UserError | None = None
    try:
        yield
    except UserError as raised:
        error = raised
    errors: list[UserError | None] = gather_object([error])
    for each in errors:
        if each is not None:
            raise error or each


def check_batch(train: TrainConfig, stride: int, images: int, processes: int = 1) -> None:
    """Check that every process gets images, and BatchNorm two values per channel at each stride.

    Args:
        train: Batch and image size.
        stride: The largest stride of the networks.
        images: Training images.
        processes: Number of processes.

    Raises:
        ConfigError: The batch is too small.
    """
    if train.images < processes:
        raise ConfigError(
            f"A batch of {train.images} over {processes} processes leaves some without an image.",
            fix=f"--batch-size {processes}  or more, or fewer processes.",
            code="C30",
        )
    side = train.image_size // (2 if train.multi_scale else 1)
    smallest = min(train.images, images % train.images or train.images) // processes
    if smallest <= 1 and side < 2 * stride:
        each = f" for each of {processes} processes" if processes > 1 else ""
        raise ConfigError(
            f"A batch of 1 image of {max(side, stride)} px{each} has one value per channel at "
            f"stride {stride}, and BatchNorm needs two to train.",
            fix=f"Use  --img-size {2 * stride * (2 if train.multi_scale else 1)} , or a "
            f"--batch-size above {processes} that leaves no single one of the {images} images over",
            code="C30",
        )


def synchronise(student: nn.Module, device: str, processes: int) -> None:
    """Convert BatchNorm to SyncBatchNorm, in place, if there are several processes.

    Raises:
        ConfigError: The device is no GPU; torch has it for GPUs only.
    """
    if processes == 1:
        return
    if device != "cuda":
        raise ConfigError(
            "train.sync_bn needs GPUs: torch synchronises BatchNorm nowhere else.",
            fix="Leave it out, or give each process a larger batch.",
            code="C30",
        )
    nn.SyncBatchNorm.convert_sync_batchnorm(student)  # in place: the same parameters and names
