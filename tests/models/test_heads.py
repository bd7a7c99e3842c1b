"""The heads: starting biases, anchors, implicit vectors, decoding."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tutelage.models.heads import Detect, IDetect
from tutelage.models.heads.decode import decode, decode_rows
from tutelage.weights.convert import Family

ANCHORS = [[(10.0, 13.0), (16.0, 30.0)], [(100.0, 90.0), (150.0, 190.0)]]


def head(
    kind: type[Detect] = Detect, family: Family = "yolov7", classes: int = 3, **options: object
) -> Detect:
    settings = {"strides": (8, 16), "anchors": ANCHORS, **options}
    return kind([4, 6], classes=classes, family=family, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("family", "classes", "prior"),
    [
        ("yolov7", 80, math.log(0.6 / 79.01)),
        ("yolov7", 1, math.log(60)),
        ("yolov5", 1, math.log(60000)),
        ("yolov5", 80, math.log(0.6 / (80 - 0.99999))),
    ],
)
def test_starting_biases(family: Family, classes: int, prior: float) -> None:
    found = head(family=family, classes=classes)
    for conv, stride in zip(found.convolutions, (8, 16), strict=True):
        assert conv.bias is not None
        bias = conv.bias.view(2, 5 + classes)
        spread = 1 / math.sqrt(conv.in_channels)  # of the random part
        objectness = {8: -6.6846, 16: -5.2983}[stride]  # ln(8 objects / cells of 640 px)
        assert (bias[:, :4].abs() <= spread).all()
        assert ((bias[:, 4] - objectness).abs() <= spread + 1e-3).all()
        assert ((bias[:, 5:] - prior).abs() <= spread + 1e-3).all()


def test_anchor_buffers() -> None:
    v7, v5 = head(), head(family="yolov5")
    expected = torch.tensor(ANCHORS)
    for each in (v7, v5):
        assert torch.equal(each.anchor_sizes, expected)
        assert torch.equal(each.anchors[1], expected[1] / 16)
    assert v7.state_dict()["anchor_grid"].shape == (2, 1, 2, 1, 1, 2)
    assert "anchor_grid" not in v5.state_dict()


@pytest.mark.parametrize("family", ["yolov7", "yolov5"])
def test_levels_in_the_wrong_order_are_reversed(family: Family) -> None:
    assert torch.equal(
        head(family=family, anchors=ANCHORS[::-1]).anchor_sizes, torch.tensor(ANCHORS)
    )
    equal = [[(5.0, 5.0), (5.0, 5.0)]] * 2
    assert torch.equal(head(family=family, anchors=equal).anchor_sizes, torch.tensor(equal))


@pytest.mark.parametrize("family", ["yolov7", "yolov5"])
def test_setting_anchors(family: Family) -> None:
    found = head(family=family)
    pixels = torch.tensor(ANCHORS) * 1.5
    found.set_anchor_sizes(pixels)
    assert torch.equal(found.anchor_sizes, pixels)
    assert torch.equal(found.anchors[0], pixels[0] / 8)
    with pytest.raises(ValueError, match=r"expected anchors of shape \(2, 2, 2\), got \(2, 3, 2\)"):
        found.set_anchor_sizes(torch.ones(2, 3, 2))


def features(kind: torch.memory_format = torch.contiguous_format) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    maps = [
        torch.randn(2, 4, 6, 5, generator=generator),
        torch.randn(2, 6, 3, 2, generator=generator),
    ]
    return [x.contiguous(memory_format=kind).double().requires_grad_() for x in maps]


def spelt_out(found: IDetect, maps: list[Tensor]) -> list[Tensor]:
    """The published form: shift the map, convolve, scale, give anchors an axis."""
    raw = []
    for x, conv, ia, im in zip(maps, found.m, found.ia, found.im, strict=True):
        y = im.implicit * conv(x + ia.implicit)
        b, _, ny, nx = y.shape
        raw.append(y.view(b, 2, 8, ny, nx).permute(0, 1, 3, 4, 2))
    return raw


def test_implicit_vectors_give_the_published_outputs_and_gradients() -> None:
    found = head(IDetect).double()
    assert isinstance(found, IDetect)
    gradients = []
    outputs = []
    for form in (lambda maps: found(*maps), lambda maps: spelt_out(found, maps)):
        maps = features()
        raw = form(maps)
        loss = sum((x * torch.linspace(-1, 1, x.numel()).view(x.shape)).sum() for x in raw)
        parameters = [*found.parameters(), *maps]
        gradients.append(torch.autograd.grad(loss, parameters))
        outputs.append(raw)
    for a, b in zip(outputs[0], outputs[1], strict=True):
        torch.testing.assert_close(a, b)
    for a, b in zip(gradients[0], gradients[1], strict=True):
        torch.testing.assert_close(a, b)
        assert a.abs().sum() > 0


def test_implicit_vectors_start_around_zero_and_one() -> None:
    wide = IDetect([4096, 4096], strides=(8, 16), anchors=ANCHORS, classes=400, family="yolov7")
    for ia, im in zip(wide.ia, wide.im, strict=True):
        assert ia.implicit.mean().item() == pytest.approx(0, abs=2e-3)
        assert im.implicit.mean().item() == pytest.approx(1, abs=4e-3)
        assert ia.implicit.std().item() == pytest.approx(0.02, rel=0.1)
        assert im.implicit.std().item() == pytest.approx(0.02, rel=0.2)


def test_the_deployed_head_is_plain_and_equal() -> None:
    found = head(IDetect).double()
    assert isinstance(found, IDetect)
    plain = found.deployed()
    assert type(plain) is Detect
    assert list(plain.state_dict()) == [
        key for key in found.state_dict() if key[:2] not in ("ia", "im")
    ]
    for a, b in zip(found(*features()), plain(*features()), strict=True):
        torch.testing.assert_close(a, b)
    plain.set_anchor_sizes(plain.anchor_sizes * 2)
    assert torch.equal(found.anchor_sizes, torch.tensor(ANCHORS).double())  # nothing is shared


def test_channels_last_changes_nothing() -> None:
    found = head(IDetect).double()
    last = features(torch.channels_last)
    for a, b in zip(found(*features()), found(*last), strict=True):
        torch.testing.assert_close(a, b)
        assert a.is_contiguous()
        assert b.is_contiguous()


def test_decoding_one_cell_by_hand() -> None:
    raw = [torch.zeros(1, 2, 6, 5, 8), torch.full((1, 2, 3, 2, 8), -50.0)]
    raw[0][0, 1, 4, 3] = torch.tensor([2.0, -1.0, 0.5, -0.5, 1.0, 0.1, 0.2, 0.3])
    found = decode(raw, torch.tensor(ANCHORS), (8, 16))
    place = (1 * 6 + 4) * 5 + 3
    s = [1 / (1 + math.exp(-v)) for v in (2.0, -1.0, 0.5, -0.5)]
    cx, cy = (2 * s[0] - 0.5 + 3) * 8, (2 * s[1] - 0.5 + 4) * 8
    w, h = (2 * s[2]) ** 2 * 16, (2 * s[3]) ** 2 * 30
    expected = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
    assert found.xyxy[0, place].tolist() == pytest.approx(expected, rel=1e-5)
    assert found.objectness is not None
    assert found.objectness[0, place].item() == 1.0
    assert found.logits[0, place].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert found.box_raw is not None
    assert found.box_raw[0, place].tolist() == [2.0, -1.0, 0.5, -0.5]
    assert found.level.tolist() == [0] * 60 + [1] * 12
    rows = decode_rows(raw, torch.tensor(ANCHORS), (8, 16))
    probability = 1 / (1 + math.exp(-1.0))
    assert rows[0, place, :5].tolist() == pytest.approx([cx, cy, w, h, probability], rel=1e-5)
    assert rows.shape == (1, 72, 8)


def test_decoding_is_differentiable_and_at_least_float32() -> None:
    anchors = torch.tensor(ANCHORS)
    for kind, expected in (
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float64, torch.float64),
    ):
        raw = [torch.zeros(1, 2, 2, 2, 6, dtype=kind), torch.zeros(1, 2, 1, 1, 6, dtype=kind)]
        leaf = raw[0].requires_grad_()
        found = decode(raw, anchors, (8, 16))
        assert {x.dtype for x in (found.xyxy, found.logits, found.objectness)} == {expected}
        found.xyxy.square().sum().backward()
        assert leaf.grad is not None
        assert leaf.grad[..., :4].abs().min() > 0
