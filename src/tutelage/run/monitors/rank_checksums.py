"""Checks that all processes hold the same method parameters."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import nn

from tutelage.errors import TrainingError
from tutelage.teachers import fingerprint


def check_ranks(accelerator: Accelerator, methods: nn.Module, when: str) -> None:
    """Compare a checksum of the methods' parameters between processes.

    Raises:
        TrainingError: It differs: gradients are not averaged, and each process trains its own.
    """
    if accelerator.num_processes == 1:
        return
    digest = fingerprint((name, p.data) for name, p in methods.named_parameters())
    own = torch.tensor([int(digest[:15], 16)], device=accelerator.device)
    checksums = accelerator.gather(own)
    if len(set(checksums.tolist())) > 1:  # pyright: ignore[reportAttributeAccessIssue]
        raise TrainingError(
            f"The parameters of the methods differ between processes {when}.",
            fix="A method must not change its parameters other than by their gradients.",
            code="R27",
        )
