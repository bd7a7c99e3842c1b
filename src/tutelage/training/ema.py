"""Exponential moving average of the student (parameters and buffers)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def make_ema(
    student: nn.Module, decay: float = 0.9999, ramp: float = 2000.0, share: float = 0.0
) -> AveragedModel:
    """Return an averaged copy whose decay rises as ``decay · (1 − exp(−updates / ramp))``.

    The low decay at the start keeps the random initialisation out of the average of short runs.
    Integer tensors (batch counters) are copied.

    Args:
        student: The network in training.
        decay: The largest decay.
        ramp: Updates over which it rises. In a run of fewer updates the average spans a few steps.
        share: The average spans at least this share of the updates so far, that is, the decay is
            at least ``share · updates / (1 + share · updates)``.
    """

    @torch.no_grad()
    def average(
        averaged: tuple[Tensor, ...] | list[Tensor],
        current: tuple[Tensor, ...] | list[Tensor],
        updates: Tensor | int,
    ) -> None:
        if not averaged[0].is_floating_point():
            for old, new in zip(averaged, current, strict=True):
                old.copy_(new)
            return
        done = int(updates) + 1
        span = share * done
        d = min(max(decay * (1 - math.exp(-done / ramp)), span / (1 + span)), decay)
        torch._foreach_lerp_(averaged, current, 1 - d)  # pyright: ignore[reportPrivateImportUsage]

    ema = AveragedModel(student, multi_avg_fn=average, use_buffers=True)
    return ema.eval().requires_grad_(False)
