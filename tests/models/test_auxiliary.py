"""Graphs with auxiliary levels: what training returns, and what evaluation leaves out."""

from __future__ import annotations

import pytest
import torch

from tests.models.graphs import changed
from tests.models.repeatable_weights import fill_normal
from tutelage.errors import ConfigError
from tutelage.models import GraphDetector, build, transfer
from tutelage.models.catalog import named
from tutelage.models.detector import check_image_size
from tutelage.models.heads import Detect, IAuxDetect
from tutelage.models.weight_file import Checkpoint, restore

ROWS = ["118", "119", "120", "121"]
SIZE = (64, 128)
IMAGES = torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def detector() -> GraphDetector:
    found = build("yolov7-w6@0.125", ["a", "b"])
    fill_normal(found)
    return found


@torch.no_grad()
def test_lead_levels_come_first_and_evaluation_returns_them_alone(detector: GraphDetector) -> None:
    raw = detector.train()(IMAGES).raw
    shapes = [(2, 3, SIZE[0] // s, SIZE[1] // s, 7) for s in (8, 16, 32, 64)]
    assert [tuple(level.shape) for level in raw] == shapes * 2
    head = detector.head
    assert isinstance(head, IAuxDetect)
    lead, rest = raw[:4], raw[4:]
    assert all(not torch.equal(a, b) for a, b in zip(lead, rest, strict=True))
    alone, all_of_it = detector.decode(lead, SIZE), detector.decode(raw, SIZE)
    assert torch.equal(alone.xyxy, all_of_it.xyxy)
    assert torch.equal(alone.logits, all_of_it.logits)
    assert alone.xyxy.shape[1] == sum(3 * shape[2] * shape[3] for shape in shapes)
    answer, features = detector.forward_once(IMAGES, extra_features=["p3"])
    assert (len(answer), len(features)) == (8, 1)
    (decoded, raw), table = detector.eval().forward_once(IMAGES, profile=True)
    assert len(raw) == len(detector(IMAGES).raw) == 4
    assert decoded.shape[1] == alone.xyxy.shape[1]
    assert not {cost.key for cost in table} & set(ROWS)
    assert len(table) == len(detector.layers) - 4


@torch.no_grad()
def test_auxiliary_rows_run_where_they_are_tapped(detector: GraphDetector) -> None:
    taps = detector.eval()(IMAGES, ["118", "p3", "121"]).taps
    expected = detector.model[118](taps[1])
    assert torch.equal(taps[0], expected)
    assert [tap.channels for tap in detector.tap(ROWS)] == [40, 80, 120, 160]


@torch.no_grad()
def test_the_head_follows_from_the_lead_taps(detector: GraphDetector) -> None:
    for form in (detector.train(), detector.fused()):
        form.eval()
        out = form(IMAGES, list(form.levels))
        raw = form.resume(dict(zip(form.levels, out.taps, strict=True)))
        assert all(torch.equal(a, b) for a, b in zip(raw, out.raw, strict=True))


def test_the_deploy_form_has_no_auxiliary_rows(detector: GraphDetector) -> None:
    deploy = detector.fused()
    assert type(deploy.head) is Detect
    rows = tuple(f"model.{row}." for row in ROWS)
    assert not any(key.startswith(rows) or ".m2." in key for key in deploy.state_dict())
    with pytest.raises(ConfigError, match=r"layers 118, 121 of yolov7-w6@0\.125 are auxiliary"):
        deploy.tap(["118", "121"])
    assert deploy.tap(["117"]) == detector.tap(["117"])


def test_the_official_order_of_the_head(detector: GraphDetector) -> None:
    keys = [key.split(".")[2] for key in detector.state_dict() if key.startswith("model.122.")]
    assert list(dict.fromkeys(keys)) == ["anchors", "anchor_grid", "m", "m2", "ia", "im"]


def test_auxiliary_outputs_start_with_few_objects_too() -> None:
    head = IAuxDetect(
        [400, 400] * 2,
        strides=(8, 16),
        anchors=[[(10.0, 13.0)], [(30.0, 61.0)]],
        classes=80,
        family="yolov7",
    )
    for one, other in zip(head.m, head.m2, strict=True):
        assert other.bias[4:].detach().tolist() == pytest.approx(
            one.bias[4:].detach().tolist(), abs=0.11
        )
    assert head.m2[0].bias[4].item() == pytest.approx(-6.68, abs=0.06)


@pytest.mark.parametrize("official", [False, True])
@torch.no_grad()
def test_folded_files_are_read(detector: GraphDetector, official: bool) -> None:
    """The published folding leaves the auxiliary rows and the implicit vectors in the file."""
    deploy = detector.fused()
    state = dict(deploy.state_dict())
    if official:
        left = (".ia.", ".im.", ".m2.")
        state |= {k: v for k, v in detector.state_dict().items() if any(x in k for x in left)}
        state["model.118.conv.weight"] = torch.zeros(40, 16, 3, 3)
    arch, names = detector.arch, detector.names
    checkpoint = Checkpoint("x", state, arch, detector.arch_name, names, (), "")
    for a, b in zip(restore(checkpoint)(IMAGES).raw, deploy(IMAGES).raw, strict=True):
        torch.testing.assert_close(a, b)


def test_weights_move_between_class_counts(detector: GraphDetector) -> None:
    other = build("yolov7-w6@0.125", ["x"])
    skipped = transfer(other, detector.state_dict()).skipped
    assert {key.split(".")[2] for key in skipped} == {"m", "m2", "im"}
    assert all(key.startswith("model.122.") for key in skipped)


def test_auxiliary_rows_of_other_strides_are_refused() -> None:
    graph = named("yolov7-w6@0.125")
    graph["head"][-1][0] = [114, 115, 116, 117, 119, 118, 120, 121]
    with pytest.raises(ConfigError, match=r"auxiliary rows have strides \[16, 8, 32, 64\]"):
        build(changed(graph), ["a"])


def test_images_must_be_multiples_of_64(detector: GraphDetector) -> None:
    with pytest.raises(ConfigError, match="--img-size 672 must be a multiple of 64") as caught:
        check_image_size(672, max(detector.strides))
    assert caught.value.fix == "Nearest: 640."
