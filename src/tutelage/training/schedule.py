"""Learning rate, momentum, accumulation and KD weights as pure functions of the step.

Nothing here has state, so nothing needs to be saved. It is the schedule of YOLOv7/v5 with two
deliberate changes: the learning rate is not one epoch late, and warm-up and accumulation are
shorter on small data sets.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, cast

from accelerate import Accelerator
from torch import Tensor
from torch.optim import Optimizer

from tutelage.structures import Batch, Losses

SMALL_DATA_SET = 1000  # training images under which gradients accumulate to 16 instead of 64


class Position(NamedTuple):
    """Progress of a run: epochs finished, and batches finished in the current one."""

    epoch: int = 0
    batch: int = 0

    def in_words(self) -> str:
        """Return ``epoch 2`` after its end, ``epoch 3 step 7`` within the next."""
        return f"epoch {self.epoch + 1} step {self.batch}" if self.batch else f"epoch {self.epoch}"


class WeightSchedule(NamedTuple):
    """The weight of a method over the run, as a factor.

    Attributes:
        shape: Shape of the decay.
        warmup_steps: Steps over which it rises from 0.
        stop_epoch: First epoch without the method.
    """

    shape: Literal["constant", "linear", "cosine"] = "constant"
    warmup_steps: int = 0
    stop_epoch: int | None = None

    def at(self, epoch: int, step: int, epochs: int, steps: int) -> float:
        """Return the factor at a step of an epoch; 0 from ``stop_epoch`` on."""
        end = epochs if self.stop_epoch is None else self.stop_epoch
        if epoch >= end:
            return 0.0
        at = epoch * steps + step
        rise = min((at + 1) / self.warmup_steps, 1.0) if self.warmup_steps else 1.0
        done = at / (end * steps)
        if self.shape == "linear":
            return rise * (1 - done)
        if self.shape == "cosine":
            return rise * (1 + math.cos(math.pi * done)) / 2
        return rise


class Schedule(NamedTuple):
    """The whole schedule of a run.

    Attributes:
        epochs: Number of epochs.
        steps: Batches per epoch and process.
        batch: Images per step over all processes.
        nominal_batch: Gradients accumulate to this many images.
        warmup_steps: Steps of warm-up.
        lrf: Final learning rate as a fraction of the first.
        lr_shape: Shape of the decay of the learning rate. ``yolox``: it rises by the square of the
            step, falls as a cosine from the end of warm-up to the closing epochs, and stays.
        momentum: SGD momentum (or Adam's beta1) after warm-up.
        warmup_momentum: Momentum at step 0.
        warmup_bias_lr: Learning rate of the student's biases at step 0 (others start from 0).
        max_norm: Gradient clipping (0: off).
        seed: Seed of masks and dropout.
        weight_schedules: The weight schedule of each method; by default the weight is constant.
        every: The methods act at every n-th step only, from the first on.
        close_from: First epoch without mosaic and mixup; None: there is none.
    """

    epochs: int
    steps: int
    batch: int
    nominal_batch: int = 64
    warmup_steps: int = 0
    lrf: float = 0.1
    lr_shape: Literal["cosine", "linear", "yolox"] = "cosine"
    momentum: float = 0.937
    warmup_momentum: float = 0.8
    warmup_bias_lr: float = 0.1
    max_norm: float = 10.0
    seed: int = 0
    weight_schedules: Mapping[str, WeightSchedule] = MappingProxyType({})
    every: int = 1
    close_from: int | None = None

    @property
    def accumulation(self) -> int:
        """Batches per optimizer step after warm-up."""
        return max(round(self.nominal_batch / self.batch), 1)

    @property
    def decay_scale(self) -> float:
        """Factor of the weight decay: the images of one optimizer step over the nominal batch."""
        return self.batch * self.accumulation / self.nominal_batch

    def closing(self, epoch: int) -> bool:
        """Whether an epoch is one of the last, without mosaic and mixup."""
        return self.close_from is not None and epoch >= self.close_from

    def step_at(self, epoch: int, step: int) -> int:
        """Return the global step, counted from 0."""
        return epoch * self.steps + step

    def lr_factor(self, epoch: int) -> float:
        """Return the learning rate of an epoch as a fraction of the first."""
        if self.lr_shape == "linear":
            return (1 - epoch / self.epochs) * (1 - self.lrf) + self.lrf
        start, end = 0.0, self.epochs
        if self.lr_shape == "yolox":
            start = self.warmup_steps / self.steps
            end = self.epochs if self.close_from is None else self.close_from
        if not start < epoch < end:
            return self.lrf if epoch >= end else 1.0
        return (1 - math.cos(math.pi * (epoch - start) / (end - start))) / 2 * (self.lrf - 1) + 1

    def accumulation_at(self, step: int) -> int:
        """Return the number of batches per optimizer step at a global step."""
        if step >= self.warmup_steps:
            return self.accumulation
        risen = step / self.warmup_steps
        return max(round(1 + risen * (self.nominal_batch / self.batch - 1)), 1)

    def apply(self, optimizer: Optimizer, accelerator: Accelerator, epoch: int, step: int) -> None:
        """Set learning rates, momentum and accumulation for a step.

        Groups carry ``initial_lr`` and ``kind`` (see :mod:`tutelage.training.optimizer`).
        """
        at = self.step_at(epoch, step)
        risen = min(at / self.warmup_steps, 1.0) if self.warmup_steps else 1.0
        accelerator.gradient_accumulation_steps = self.accumulation_at(at)
        momentum = self.warmup_momentum + risen * (self.momentum - self.warmup_momentum)
        risen = risen**2 if self.lr_shape == "yolox" else risen
        for group in optimizer.param_groups:
            target = group["initial_lr"] * self.lr_factor(epoch)
            start = self.warmup_bias_lr if group["kind"] == "bias" else 0.0
            group["lr"] = start + risen * (target - start)
            if "betas" in group:
                group["betas"] = (self.momentum, group["betas"][1])
            else:
                group["momentum"] = momentum

    def kd_factor(self, method: str, epoch: int, step: int) -> float:
        """Return the factor of a method's terms at a step."""
        schedule = self.weight_schedules.get(method, WeightSchedule())
        return schedule.at(epoch, step, self.epochs, self.steps)

    def active(self, methods: Iterable[str], epoch: int, step: int) -> tuple[str, ...]:
        """Return the methods with a non-zero weight, whether or not this step is a taught one."""
        return tuple(name for name in methods if self.kd_factor(name, epoch, step) > 0)

    def teaches(self, epoch: int, step: int) -> bool:
        """Whether the methods act at a step (``every``)."""
        return self.step_at(epoch, step) % self.every == 0

    def objective(
        self, losses: Losses, batch: Batch, accelerator: Accelerator, epoch: int, step: int
    ) -> Tensor:
        """Return the scalar to differentiate.

        (Σ detection + Σ kd · distillation) × images × processes × accumulation: exactly YOLOv7's
        loss scale, since DDP averages over ranks and Accelerate divides by the accumulation.
        """
        terms = list(losses.detection.values())
        for name, value in losses.distillation.items():
            terms.append(self.kd_factor(name.partition("/")[0], epoch, step) * value)
        images = len(batch.images) * accelerator.num_processes
        return cast("Tensor", sum(terms)) * (images * accelerator.gradient_accumulation_steps)

    def seed_at(self, epoch: int, step: int) -> int:
        """Return the seed of a step's random masks, so that they repeat after a resume."""
        return (self.seed * 1_000_003 + self.step_at(epoch, step)) % (2**31)


def warmup_steps(epochs: int, steps: int, warmup_epochs: float) -> int:
    """Return min(max(warmup_epochs × steps, 100), a third of all steps); 0 switches it off.

    YOLOv7 warms up for at least 1,000 steps, which is too long for small data sets.
    """
    if warmup_epochs == 0:
        return 0
    return int(min(max(round(warmup_epochs * steps), 100), epochs * steps // 3))


def nominal_batch(setting: int | Literal["auto"], images: int) -> int:
    """Return the number of images per optimizer step: 64, or 16 for small data sets."""
    if setting != "auto":
        return setting
    return 16 if images < SMALL_DATA_SET else 64
