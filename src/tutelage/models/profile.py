"""Profile a graph layer by layer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tutelage.models.construct import LayerInfo
from tutelage.models.meta_device import gflops


class LayerCost(NamedTuple):
    """The cost of one layer.

    Attributes:
        key: Row index.
        block: Block name.
        parameters: Number of parameters.
        gflops: Operations for the batch given, in 1e9 (two per multiply-add).
        milliseconds: Time of this one pass.
    """

    key: str
    block: str
    parameters: int
    gflops: float
    milliseconds: float


class Profiler:
    """Runs layers and records the cost of each."""

    def __init__(self) -> None:
        self._costs: list[LayerCost] = []

    def __call__(self, info: LayerInfo, layer: nn.Module, inputs: Sequence[Tensor]) -> Any:
        """Run ``layer`` and record its cost."""
        synchronise(inputs[0].device)
        start = time.perf_counter()
        output = layer(*inputs)
        synchronise(inputs[0].device)
        seconds = time.perf_counter() - start
        operations = gflops(layer, [x.to("meta") for x in inputs])
        parameters = sum(p.numel() for p in layer.parameters())
        self._costs.append(LayerCost(info.key, info.block, parameters, operations, seconds * 1e3))
        return output

    def table(self) -> tuple[LayerCost, ...]:
        """Return one entry per executed layer, in graph order."""
        return tuple(self._costs)


def synchronise(device: torch.device) -> None:
    """Wait until a device has computed everything it was given."""
    if device.type not in ("cpu", "meta"):
        torch.accelerator.synchronize(device)
