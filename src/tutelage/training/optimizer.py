"""Parameter groups and optimizers. Every trainable parameter is in exactly one group."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from tutelage.config.schema import OptimConfig
from tutelage.errors import ConfigError
from tutelage.models.graph import GraphDetector

Kind = Literal["weight", "plain", "bias", "kd-weight", "kd-plain"]


def kind_of(name: str, parameter: nn.Parameter) -> Kind:
    """Return the group of a parameter of a task.

    ``weight`` (decayed): convolution and linear weights. ``plain`` (no decay): normalisation and
    implicit parameters. ``bias`` (no decay, own warm-up). The methods' parameters have groups of
    their own, without the bias warm-up: a learning rate of 0.1 is too high for a connector.
    """
    plain = parameter.ndim <= 1 or name.endswith(("implicit", ".bias"))
    if name.startswith("methods."):
        return "kd-plain" if plain else "kd-weight"
    if name.endswith(".bias"):
        return "bias"
    return "plain" if plain else "weight"


def parameter_groups(
    task: nn.Module, config: OptimConfig, decay_scale: float
) -> list[dict[str, Any]]:
    """Return optimizer groups with ``kind``, ``initial_lr`` and ``weight_decay``."""
    kinds: dict[Kind, list[nn.Parameter]] = {}
    for name, parameter in task.named_parameters():
        if parameter.requires_grad:
            kinds.setdefault(kind_of(name, parameter), []).append(parameter)
    return [
        {
            "params": parameters,
            "kind": kind,
            "lr": config.lr,
            "initial_lr": config.lr,
            "weight_decay": config.weight_decay * decay_scale if kind.endswith("weight") else 0.0,
        }
        for kind, parameters in sorted(kinds.items())
    ]


def make_optimizer(
    task: nn.Module, config: OptimConfig, decay_scale: float = 1.0
) -> torch.optim.Optimizer:
    """Return SGD with Nesterov momentum, Adam or AdamW over all trainable parameters of ``task``.

    Args:
        task: The module to train.
        config: Learning rate, momentum, decay and the name of the optimizer.
        decay_scale: Factor of the weight decay, see
            :attr:`tutelage.training.schedule.Schedule.decay_scale`.
    """
    groups = parameter_groups(task, config, decay_scale)
    if config.name == "sgd":
        return torch.optim.SGD(
            groups, lr=config.lr, momentum=config.momentum, nesterov=True, fused=True
        )
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.lr, betas=(config.momentum, 0.999), fused=True)


def freeze_rows(student: GraphDetector, rows: tuple[int, ...]) -> int:
    """Freeze rows of a graph model: one number N means rows 0..N-1, several exactly those.

    The BatchNorm statistics of frozen rows are still updated, as in YOLOv5 and YOLOv7.

    Returns:
        The number of frozen parameters.

    Raises:
        ConfigError: A row does not exist, or all rows would be frozen.
    """
    chosen = set(range(rows[0]) if len(rows) == 1 else rows)
    last = len(student.model) - 1
    if chosen and (max(chosen) > last or len(chosen) > last):
        raise ConfigError(
            f"--freeze {' '.join(map(str, rows))}: {student.arch_name} has rows 0…{last}, and one "
            "at least must train.",
            fix=f"One number N freezes rows 0…N-1: --freeze {last} trains the head alone.",
            code="C25",
        )
    frozen = [p for row in sorted(chosen) for p in student.model[row].parameters()]
    for parameter in frozen:
        parameter.requires_grad_(False)
    return sum(p.numel() for p in frozen)
