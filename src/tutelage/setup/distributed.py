"""What several processes ask of the settings of a run."""

from __future__ import annotations

import warnings

from torch import nn

from tutelage.config.schema import TrainConfig
from tutelage.errors import ConfigError


def check_batch(train: TrainConfig, stride: int, images: int, processes: int = 1) -> None:
    """Refuse a batch of which a process gets nothing, or too little for BatchNorm.

    That needs more than a single value per channel at the largest stride.

    Raises:
        ConfigError: It is one.
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


def quieten() -> None:
    """Keep torch from telling that gradients of 1×1 convolutions have other strides in its buckets.

    Channels-last has two names for these strides; the copy costs nothing beside the step.
    """
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")


def synchronise(student: nn.Module, device: str, processes: int) -> None:
    """Let BatchNorm see the batches of all processes; a single one has nobody to ask.

    Raises:
        ConfigError: Torch can do it on GPUs only.
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
