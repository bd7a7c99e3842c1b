"""The deploy copy: equal outputs, and the original untouched."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.models.repeatable_weights import fill_normal
from tutelage.models import ARCHITECTURES, GraphDetector, build
from tutelage.models.blocks.rep import RepConv
from tutelage.models.heads import Detect

IMAGES = torch.rand(2, 3, 64, 128, generator=torch.Generator().manual_seed(3))


@pytest.fixture(
    scope="module", params=["yolov7-tiny@0.25", "yolov7@0.125", "yolov5n", "yolov7-w6@0.125"]
)
def detector(request: pytest.FixtureRequest) -> GraphDetector:
    found = build(request.param, ["a", "b"])
    fill_normal(found)
    return found.train()


@torch.no_grad()
def test_it_gives_the_same_and_leaves_the_original_alone(detector: GraphDetector) -> None:
    before = {key: value.clone() for key, value in detector.state_dict().items()}
    deploy = detector.fused()
    assert detector.training
    assert all(p.requires_grad for p in detector.parameters())
    after = detector.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    shared = {p.data_ptr() for p in detector.parameters()} & {
        p.data_ptr() for p in deploy.parameters()
    }
    assert not shared

    detector.eval()
    keys = list(detector.levels)
    mine, folded = detector(IMAGES, keys), deploy(IMAGES, keys)
    detector.train()
    for a, b in zip((*folded.raw, *folded.taps), (*mine.raw, *mine.taps), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    found, expected = deploy.decode(folded.raw, (64, 128)), detector.decode(mine.raw, (64, 128))
    torch.testing.assert_close(found.xyxy, expected.xyxy, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.no_grad()
def test_every_architecture_gives_the_same_boxes(name: str) -> None:
    whole = build(f"{name}@0.0625", ["a", "b"]).eval()
    fill_normal(whole)
    fused = whole.fused()
    mine, folded = (each.decode(each(IMAGES).raw, (64, 128)) for each in (whole, fused))
    assert folded.grids == mine.grids
    for a, b in zip(folded, mine, strict=True):
        if isinstance(b, torch.Tensor):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * b.abs().max().item())


def test_it_is_the_deploy_form(detector: GraphDetector) -> None:
    deploy = detector.fused()
    kinds = {type(module) for module in deploy.modules()}
    assert nn.BatchNorm2d not in kinds
    assert RepConv not in kinds
    assert type(deploy.head) is Detect
    assert not deploy.training
    assert not any(p.requires_grad for p in deploy.parameters())
    convolutions = [m for m in deploy.modules() if isinstance(m, nn.Conv2d)]
    assert all(conv.bias is not None for conv in convolutions)
    assert all(
        conv.weight.is_contiguous(memory_format=torch.channels_last) for conv in convolutions
    )
    assert not any("implicit" in key or ".bn." in key for key in deploy.state_dict())


def test_it_keeps_what_is_known_of_the_detector(detector: GraphDetector) -> None:
    deploy = detector.fused()
    for name in ("names", "strides", "levels", "arch", "arch_name", "family"):
        assert getattr(deploy, name) == getattr(detector, name), name
    for row, (mine, own) in enumerate(zip(deploy.layers, detector.layers, strict=True)):
        assert mine == (own._replace(stride=0) if row in detector.auxiliary else own)
    assert torch.equal(deploy.head.anchor_sizes, detector.head.anchor_sizes)
    assert deploy.tap(["p4"]) == detector.tap(["p4"])


@torch.no_grad()
def test_fusing_twice_is_fusing_once(detector: GraphDetector) -> None:
    once = detector.fused()
    twice = once.fused()
    assert list(once.state_dict()) == list(twice.state_dict())
    for a, b in zip(once(IMAGES).raw, twice(IMAGES).raw, strict=True):
        assert torch.equal(a, b)


@torch.no_grad()
def test_dtype_is_kept(detector: GraphDetector) -> None:
    double = detector.double().fused()
    detector.float()
    assert {p.dtype for p in double.parameters()} == {torch.float64}
    assert double(IMAGES.double()).raw[0].dtype == torch.float64
