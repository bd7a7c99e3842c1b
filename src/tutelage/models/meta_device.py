"""Running modules on the meta device: shapes and operation counts without any computation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_SAME_SHAPE = {F.batch_norm, F.silu, F.leaky_relu}
_PRODUCTS = {F.linear, torch.matmul, torch.bmm, Tensor.matmul, Tensor.__matmul__, Tensor.bmm}
_BROADCAST = {torch.add, Tensor.add, Tensor.__add__, Tensor.mul, Tensor.__mul__, Tensor.__rmul__}
_IN_PLACE = {
    getattr(Tensor, name)
    for name in ("__iadd__", "__isub__", "__imul__", "__itruediv__", "__setitem__", "fill_")
}


class _ShapesAlone(TorchFunctionMode):
    """Leaves out what only changes values; joins, sums and products have shapes alone.

    Torch does such steps in Python on the meta device, where the first one imports its compiler:
    over a second.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.__bool__:
            return True  # as if a check of values passed
        if func is torch.cat:
            return _cat(*args, **kwargs)
        if func in _BROADCAST and not kwargs:
            return _broadcast(*args)
        if func in _SAME_SHAPE or func in _IN_PLACE:
            return args[0]
        if getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _cat(maps: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Return what ``torch.cat`` returns of meta tensors."""
    shape = list(maps[0].shape)
    dim %= len(shape)
    for each in maps:
        if [*each.shape[:dim], *each.shape[dim + 1 :]] != [*shape[:dim], *shape[dim + 1 :]]:
            sizes = ", ".join(str(tuple(each.shape)) for each in maps)
            raise RuntimeError(f"maps of sizes {sizes} cannot be joined along dimension {dim}")
    shape[dim] = sum(each.shape[dim] for each in maps)
    return maps[0].new_empty(shape)


def _broadcast(first: Tensor, second: Tensor | float) -> Tensor:
    """Return what ``first + second`` or ``first * second`` returns of a meta tensor."""
    other = second.shape if isinstance(second, Tensor) else ()
    return first.new_empty(np.broadcast_shapes(first.shape, other))


@contextmanager
def without_values() -> Iterator[None]:
    """Make modules on the meta device: their shapes, without memory and without initial values."""
    with torch.device("meta"), _ShapesAlone():
        yield


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
    with torch.no_grad(), _ShapesAlone():
        return functional_call(module, tensors, tuple(inputs))


def image(size: tuple[int, int], channels: int = 3) -> Tensor:
    """Make a meta image batch ``(1, channels, h, w)``."""
    return torch.empty(1, channels, *size, device="meta")


def gflops(module: nn.Module, inputs: Sequence[Tensor]) -> float:
    """Count two operations per multiply-add of convolutions and matrix products, in 1e9.

    The figure is that of torch's ``FlopCounterMode``, which imports the compiler: over a second.
    """
    with _Multiplications() as counter:
        on_meta(module, inputs)
    return 2 * counter.count / 1e9


class _Multiplications(TorchFunctionMode):
    """Counts the multiply-adds of convolutions and matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if func is F.conv2d:
            self.count += output.numel() * args[1][0].numel()
        elif func is F.conv_transpose2d:
            self.count += args[0].numel() * args[1][0].numel()
        elif func in _PRODUCTS and args[1].dim() > 1:  # torch counts no product with a vector
            self.count += output.numel() * args[0].shape[-1]
        return output
