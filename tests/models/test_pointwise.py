"""1 x 1 convolutions as matrix products."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from tutelage.models.blocks.conv import Conv, DWConv
from tutelage.models.blocks.pointwise import PointwiseConv2d, pointwise

MAPS = torch.randn(2, 6, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Called(TorchDispatchMode):
    """Collects the names of the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def operators(conv: PointwiseConv2d, x: torch.Tensor) -> set[str]:
    with Called() as called:
        conv(x)
    return called.names


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("bias", [True, False])
def test_value_and_gradients_are_those_of_the_convolution(
    layout: torch.memory_format, bias: bool
) -> None:
    conv = PointwiseConv2d(6, 3, 1, bias=bias).double().to(memory_format=layout)
    leaves = [*conv.parameters()]
    found, expected = [], []
    for function, into in ((pointwise, found), (F.conv2d, expected)):
        x = MAPS.contiguous(memory_format=layout).requires_grad_()
        y = function(x, conv.weight, conv.bias)
        into += [y, *torch.autograd.grad(y.square().sum(), [x, *leaves])]
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other)
        assert mine.shape == other.shape
    assert found[0].is_contiguous(memory_format=layout)


def test_a_product_where_the_weight_is_trained_on_channels_last_maps() -> None:
    conv = PointwiseConv2d(6, 3, 1, bias=False).double()
    last = MAPS.contiguous(memory_format=torch.channels_last)
    assert "mm" in operators(conv, last)
    assert "convolution" in operators(conv, MAPS)
    with torch.no_grad():
        assert "convolution" in operators(conv, last)
    assert "convolution" in operators(conv.requires_grad_(False), last)


def test_which_convolutions_are_pointwise() -> None:
    assert type(Conv(4, 4).conv) is PointwiseConv2d
    for other in (Conv(4, 4, 3), Conv(4, 4, 1, 2), Conv(4, 4, 1, 1, 1), DWConv(4, 4)):
        assert type(other.conv) is torch.nn.Conv2d
