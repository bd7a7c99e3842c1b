"""Shapes on the meta device: those of the real computation, without importing the compiler."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tutelage.models import build
from tutelage.models.blocks.resample import Concat
from tutelage.models.catalog import ARCHITECTURES
from tutelage.models.meta_device import gflops, image, on_meta, without_values

WEIGHTS = Path(__file__).parent.parent / "golden/checkpoints/yolov7-tiny-w025-stripped.pt"


class Joined(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, *maps: Tensor) -> Tensor:
        return torch.cat(maps, self.dim)


class Summed(nn.Module):
    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return 255 * (first + second + 1.0) * second


def shape(module: nn.Module, *sizes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(on_meta(module, [torch.empty(size, device="meta") for size in sizes]).shape)


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_joined_maps_have_the_shape_that_torch_gives_them(dim: int):
    sizes = [[2, 3, 4, 5] for _ in range(3)]
    for extra, size in enumerate(sizes):
        size[dim] += extra
    real = torch.cat([torch.empty(size) for size in sizes], dim)
    assert shape(Joined(dim), *map(tuple, sizes)) == tuple(real.shape)


def test_maps_that_do_not_fit_are_an_error_that_names_their_sizes():
    with pytest.raises(RuntimeError, match=r"\(1, 3, 8, 8\), \(1, 3, 4, 4\) cannot be joined"):
        shape(Concat(), (1, 3, 8, 8), (1, 3, 4, 4))


@pytest.mark.parametrize("second", [(2, 3, 4, 4), (1, 3, 1, 1), (4, 1)])
def test_sums_and_products_have_the_shape_that_torch_gives_them(second: tuple[int, ...]):
    first = (2, 3, 4, 4)
    real = torch.empty(first) + torch.empty(second)
    assert shape(Summed(), first, second) == tuple(real.shape)


def test_modules_without_values_have_shapes_and_take_no_random_number():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with without_values():
        made = nn.Conv2d(3, 8, 3)
        nn.init.normal_(made.weight, mean=1.0)
        made.weight.data[0] += 1
    assert (made.weight.device.type, tuple(made.weight.shape)) == ("meta", (8, 3, 3, 3))
    assert torch.equal(torch.get_rng_state(), before)


class Products(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 5)
        self.transposed = nn.ConvTranspose2d(3, 6, 3, stride=2, groups=3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.transposed(x)[..., :8]
        return self.linear(x @ x.transpose(2, 3) @ x)


def test_operations_are_those_that_torch_counts():
    x = torch.zeros(2, 3, 16, 16)
    with FlopCounterMode(display=False) as counter:
        Products()(x)
    assert gflops(Products(), [x.to("meta")]) == counter.get_total_flops() / 1e9


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_operations_of_every_architecture_are_those_that_torch_counts(name: str):
    detector = build(f"{name}@0.125", ["a", "b"])
    with FlopCounterMode(display=False) as counter:
        on_meta(detector, [image((64, 64)).expand(2, 3, 64, 64)])
    assert gflops(detector, [image((64, 64)).expand(2, 3, 64, 64)]) == pytest.approx(
        counter.get_total_flops() / 1e9, rel=1e-12
    )


def test_building_and_loading_models_does_not_import_the_compiler():
    command = (
        "import sys; from tutelage.models import build, load\n"
        "load(sys.argv[1])\n"
        "from tutelage.models.cost import cost\n"
        "for name in sys.argv[2:]: cost(build(name, ['a', 'b']).fused())\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    names = sorted({f"{name}@0.125" for name in ARCHITECTURES})
    done = subprocess.run(
        [sys.executable, "-c", command, str(WEIGHTS), *names], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-500:]
