"""Blocks: what they compute, and that their folded form computes the same."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.models.graphs import MENAGERIE
from tests.models.repeatable_weights import fill_normal
from tutelage.models import build
from tutelage.models.blocks import BLOCKS
from tutelage.models.blocks.activation import SiLU
from tutelage.models.blocks.conv import Conv, DWConv, Focus
from tutelage.models.blocks.csp import Bottleneck
from tutelage.models.blocks.fold import Foldable
from tutelage.models.blocks.rep import RepConv
from tutelage.models.blocks.resample import ReOrg
from tutelage.models.blocks.spp import SPP, SPPF, _Pyramid
from tutelage.models.catalog import named
from tutelage.weights.convert import rows_of


def test_space_to_depth_order() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4)
    y = ReOrg()(x)
    assert y[0, :, 0, 0].tolist() == [0, 4, 1, 5]  # (0,0), (1,0), (0,1), (1,1): row, column
    assert y.shape == (1, 4, 2, 2)


def test_pooling_pyramid_is_the_parallel_one() -> None:
    x = torch.randn(2, 3, 11, 8)
    expected = torch.cat([x] + [F.max_pool2d(x, k, 1, k // 2) for k in (5, 9, 13)], 1)
    assert torch.equal(_Pyramid((5, 9, 13))(x), expected)


def test_sppf_is_spp_with_growing_windows() -> None:
    fast, parallel = SPPF(8, 8, 5), SPP(8, 8, (5, 9, 13))
    parallel.load_state_dict(fast.state_dict())
    x = torch.randn(1, 8, 6, 6)
    assert torch.equal(fast.eval()(x), parallel.eval()(x))


def test_batch_norm_constants() -> None:
    norms = [m for m in build("yolov7", ["a"]).modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.03)}


def test_depthwise_groups() -> None:
    assert DWConv(32, 48, 3).conv.groups == 16
    assert Focus(3, 8, 3).conv.conv.in_channels == 12


def test_bottleneck_adds_only_where_widths_agree() -> None:
    assert Bottleneck(8, 8).add
    assert not Bottleneck(8, 8, shortcut=False).add
    assert not Bottleneck(8, 16).add


def test_dilation_keeps_the_size() -> None:
    assert Conv(4, 4, 3, d=3)(torch.zeros(2, 4, 9, 9)).shape == (2, 4, 9, 9)


@pytest.mark.parametrize(
    "block",
    [
        Conv(4, 6, 3, 2),
        Conv(4, 8, (3, 1), g=2),
        DWConv(4, 4, 3),
        RepConv(4, 6),
        RepConv(4, 4),  # with the identity branch
        RepConv(4, 4, g=2),
        RepConv(4, 4, s=2),
    ],
    ids=["strided", "grouped", "depthwise", "two branches", "three", "grouped three", "halving"],
)
@torch.no_grad()
def test_folding_keeps_the_function(block: Foldable) -> None:
    fill_normal(block)
    block.eval()
    before = {key: value.clone() for key, value in block.state_dict().items()}
    x = torch.randn(2, 4, 9, 7)
    torch.testing.assert_close(block.deployed()(x), block(x), rtol=1e-5, atol=1e-5)
    assert all(torch.equal(before[key], value) for key, value in block.state_dict().items())
    assert not any("running" in key for key in block.deployed().state_dict())


def test_folding_a_norm_without_statistics_is_an_error() -> None:
    conv = Conv(2, 2)
    conv.bn = nn.BatchNorm2d(2, track_running_stats=False)
    with pytest.raises(ValueError, match="without running statistics"):
        conv.deployed()


def test_silu_overwrites_only_what_autograd_does_not_need() -> None:
    plain = torch.tensor([1.0])
    assert SiLU()(plain) is plain
    leaf = torch.tensor([1.0], requires_grad=True)
    assert SiLU()(leaf) is not leaf
    assert leaf.item() == 1


def test_every_block_in_one_graph() -> None:
    """A graph with each block once: shapes, default activation, explicit ones, repeats."""
    detector = build(MENAGERIE, ["a", "b"])
    elsewhere = {  # the published graphs of the families without anchors have goldens of their own
        row[2] for name in ("yolov9-t", "yolov9-c", "yolox-nano") for row in rows_of(named(name))
    }
    elsewhere |= {name for name in BLOCKS if name.startswith("DFine")}  # of transformers
    assert {layer.block for layer in detector.layers} | elsewhere >= {*BLOCKS, "IDetect"}
    rows = detector.model
    assert isinstance(rows[0].conv.act, nn.ReLU)
    assert isinstance(rows[2], nn.Sequential)
    assert len(rows[2]) == 2
    assert rows[3].eps == 1e-3
    assert isinstance(rows[12][1].act, nn.LeakyReLU)
    assert rows[12][0].conv.padding == (1, 0)
    assert isinstance(rows[13].act, nn.Identity)
    assert rows[13].conv.dilation == (2, 2)
    shapes = [tuple(x.shape[1:]) for x in detector(torch.zeros(1, 3, 64, 96)).raw]
    assert shapes == [(2, 8, 12, 7), (2, 4, 6, 7)]
    body = detector.layers[:-1]
    maps = detector(torch.zeros(1, 3, 256, 256), [layer.key for layer in body]).taps
    for layer, feature in zip(body, maps, strict=True):
        assert feature.shape[1] == layer.channels
        assert round(256 / feature.shape[-1]) == layer.stride


@torch.no_grad()
def test_every_block_survives_folding() -> None:
    detector = build(MENAGERIE, ["a", "b"])
    fill_normal(detector)
    detector.eval()
    x = torch.rand(2, 3, 64, 64)
    deploy = detector.fused()
    for mine, folded in zip(detector(x).raw, deploy(x).raw, strict=True):
        torch.testing.assert_close(folded, mine, rtol=1e-4, atol=1e-4)
    norms = [name for name, m in deploy.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms == ["model.3"]  # a row of its own


@pytest.mark.parametrize("deploy", [False, True])
@torch.no_grad()
def test_no_block_writes_over_its_input(deploy: bool) -> None:
    detector = build(MENAGERIE, ["a", "b"]).eval()
    detector = detector.fused() if deploy else detector
    checked: list[int] = []

    def before(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        kept[layer] = [x.clone() for x in inputs]

    def after(layer: nn.Module, inputs: tuple[Tensor, ...], _: object) -> None:
        checked.append(all(map(torch.equal, kept[layer], inputs)))

    kept: dict[nn.Module, list[Tensor]] = {}
    for layer in detector.model:
        layer.register_forward_pre_hook(before)
        layer.register_forward_hook(after)
    detector(torch.rand(1, 3, 64, 64) - 0.5)
    assert checked == [True] * len(detector.layers)
