"""YOLOX equals the published implementation, number for number, and reads its weights."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.models.repeatable_weights import golden, normal_image, published_state
from tutelage.errors import ConfigError, WeightsError
from tutelage.models import GraphDetector, build, load
from tutelage.models.blocks.stem import FocusBGR
from tutelage.models.catalog import named
from tutelage.weights.yolox_keys import yolox_keys

CASES = ["yolox-nano", "yolox-tiny"]
NAMES = ["a", "b", "c"]


def assert_equal(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


@cache
def filled(name: str) -> GraphDetector:
    detector = build(name, NAMES)
    detector.load_state_dict(yolox_keys(published_state(golden(name)[1])))
    return detector.eval()


def weight_file(path: Path, name: str) -> str:
    """Write a file as the published training does."""
    state = published_state(golden(name)[1])
    torch.save({"start_epoch": 300, "model": state, "optimizer": None, "best_ap": 0.25}, path)
    return str(path)


@pytest.mark.parametrize("name", CASES)
def test_the_published_keys_are_all_of_ours(name: str) -> None:
    meta, keys, _ = golden(name)
    detector = build(name, NAMES)
    renamed = yolox_keys(keys)
    assert len(renamed) == len(keys)
    assert {k: list(v.shape) for k, v in detector.state_dict().items()} == renamed
    assert sum(p.numel() for p in detector.parameters()) == meta["parameters"]
    assert detector.strides == (8, 16, 32)


PARAMETERS = {  # millions at 80 classes, as published
    "yolox-nano": 0.91, "yolox-tiny": 5.06, "yolox-s": 9.0,
    "yolox-m": 25.3, "yolox-l": 54.2, "yolox-x": 99.1,
}  # fmt: skip


@pytest.mark.parametrize("name", PARAMETERS)
def test_sizes(name: str) -> None:
    with torch.device("meta"):
        detector = build(name, [str(i) for i in range(80)])
    assert sum(p.numel() for p in detector.parameters()) / 1e6 == pytest.approx(
        PARAMETERS[name], rel=6e-3
    )
    assert dict(detector.levels) == {"p3": "17", "p4": "20", "p5": "23"}


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_outputs_and_features(name: str) -> None:
    meta, _, arrays = golden(name)
    images = normal_image(meta["image_size"])
    layers = [key.split("_")[1] for key in arrays if key.endswith("_shape")]
    for detector in (filled(name), filled(name).fused()):
        output = detector(images, layers)
        for level, tensor in enumerate(output.raw):
            assert_equal(tensor, arrays[f"raw_{level}"])
        (decoded, _), _ = detector.forward_once(images, profile=True)
        assert_equal(decoded, arrays["decoded"])
        for layer, feature in zip(layers, output.taps, strict=True):
            assert list(feature.shape) == arrays[f"feature_{layer}_shape"].tolist()
            sample = feature[:1, :: max(1, feature.shape[1] // 8)][:, :8]
            assert_equal(sample, arrays[f"feature_{layer}_sample"])
    assert len(layers) == 11


def test_a_fresh_head_expects_few_objects() -> None:
    head = build("yolox-nano", NAMES).head
    prior = torch.tensor(-math.log(99))
    for conv in (*head.cls_preds, *head.obj_preds):
        torch.testing.assert_close(conv.bias, prior.expand_as(conv.bias))


def test_widths_are_scaled_whatever_the_number_of_classes() -> None:
    """A row of 64 channels is not that of YOLOv7's rule, which keeps the width of the outputs."""
    state = build("yolox-nano", [str(i) for i in range(59)]).state_dict()
    assert state["model.0.conv.conv.weight"].shape[0] == 16


@torch.no_grad()
def test_boxes_are_finite_whatever_the_logits() -> None:
    head = build("yolox-nano", NAMES).head
    raw = [torch.full((1, 1, n, n, 8), 1e4, dtype=torch.bfloat16) for n in (8, 4, 2)]
    found = head.decode(raw)
    assert found.xyxy.dtype == torch.float32
    area = (found.xyxy[..., 2:] - found.xyxy[..., :2]).prod(-1)
    assert area.isfinite().all()


def test_the_stem_takes_rgb_in_0_to_1() -> None:
    torch.manual_seed(0)
    stem = FocusBGR(3, 8, 3).eval()
    images = torch.rand(2, 3, 16, 16)
    plain = super(FocusBGR, stem).forward(255 * images.flip(1))
    torch.testing.assert_close(stem(images), plain, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(stem.deployed()(images), plain, rtol=1e-4, atol=1e-4)
    stem(images).sum().backward()
    mine = stem.conv.conv.weight.grad.clone()
    stem.zero_grad()
    plain.sum().backward()
    torch.testing.assert_close(mine, stem.conv.conv.weight.grad, rtol=1e-4, atol=1e-2)


def test_grey_images() -> None:
    grey = build({**named("yolox-nano"), "ch": 1}, NAMES).eval()
    assert grey.state_dict()["model.0.conv.conv.weight"].shape[1] == 4
    assert grey(torch.rand(1, 3, 64, 64)).raw[0].shape == (1, 1, 8, 8, 8)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"anchors": 3}, "anchors: YOLOXHead has none"),
        ({"depthwise": "yes"}, "depthwise must be true or false"),
    ],
)
def test_keys_that_do_not_fit_are_named(change: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build({**named("yolox-s"), **change}, NAMES)


def test_the_head_has_the_activation_of_the_graph() -> None:
    detector = build({**named("yolox-nano"), "activation": "nn.ReLU()"}, NAMES)
    assert isinstance(detector.head.stems[0].act, torch.nn.ReLU)


@pytest.mark.parametrize("name", ["yolox-s6", "yoloxm6", "yolox_w6", "yolox-darknet53"])
def test_there_are_no_p6_sizes(name: str) -> None:
    with pytest.raises(
        ConfigError, match=r"sizes of YOLOX are yolox-nano, .*, yolox-x; none has P6\."
    ):
        build(name, NAMES)


def test_a_typing_error_has_its_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean 'yolox-tiny'\? The sizes of YOLOX"):
        build("yolox-tny", NAMES)


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_published_weights(name: str, tmp_path: Path) -> None:
    meta, _, arrays = golden(name)
    detector = load(weight_file(tmp_path / "weights.pth", name))
    assert (detector.arch_name, detector.names) == (name, ("0", "1", "2"))
    for level, tensor in enumerate(detector(normal_image(meta["image_size"])).raw):
        assert_equal(tensor, arrays[f"raw_{level}"])


def test_published_weights_start_another_number_of_classes(tmp_path: Path) -> None:
    path = weight_file(tmp_path / "yolox_nano.pth", "yolox-nano")
    detector = load("yolox-nano", weights=path, names=["cat"])
    assert torch.equal(
        detector.model[4].state_dict()["cv1.conv.weight"],
        filled("yolox-nano").model[4].state_dict()["cv1.conv.weight"],
    )
    assert detector.head.cls_preds[0].out_channels == 1


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    path = weight_file(tmp_path / "yolox_tiny.pth", "yolox-tiny")
    with pytest.raises(WeightsError, match="does not fit yolox-s") as caught:
        load("yolox-s", weights=path)
    assert "--cfg yolox-tiny" in caught.value.fix
