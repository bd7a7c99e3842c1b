"""Running modules on the meta device: shapes and operation counts without any computation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

_ELEMENTWISE = {F.batch_norm, F.silu, F.leaky_relu}


class _Shapes(TorchFunctionMode):
    """Leaves out what changes no shape: on the meta device that is many slow steps in Python."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return args[0] if func in _ELEMENTWISE else func(*args, **(kwargs or {}))


def on_meta(module: nn.Module, inputs: Sequence[Tensor]) -> Any:
    """Run ``module`` with its weights replaced by meta tensors.

    Weights, buffers and the random state do not change, in any mode and on any device.

    Args:
        module: Any module.
        inputs: Meta tensors.

    Returns:
        What the module returns, on the meta device.
    """
    tensors = {name: p.to("meta") for name, p in module.named_parameters()}
    tensors.update((name, b.to("meta")) for name, b in module.named_buffers())
    with torch.no_grad(), _Shapes():
        return functional_call(module, tensors, tuple(inputs))


def image(size: tuple[int, int], channels: int = 3) -> Tensor:
    """Make a meta image batch ``(1, channels, h, w)``."""
    return torch.empty(1, channels, *size, device="meta")


def gflops(module: nn.Module, inputs: Sequence[Tensor]) -> float:
    """Count two operations per multiply-add of convolutions and matrix products, in 1e9."""
    with FlopCounterMode(display=False) as counter:
        on_meta(module, inputs)
    return counter.get_total_flops() / 1e9
