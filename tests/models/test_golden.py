"""The graphs equal the published implementations, number for number."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor

from tests.models.repeatable_weights import (
    fill_hashed,
    fill_normal,
    golden,
    hashed_image,
    normal_image,
)
from tutelage.models import GraphDetector, build

CASES = ["yolov7-tiny", "yolov7", "yolov5s"]
COCO = [str(i) for i in range(80)]


def assert_equal(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())


@cache
def filled(name: str) -> GraphDetector:
    detector = build(name, ["a", "b", "c"])
    fill_normal(detector)
    return detector.eval()


@pytest.mark.parametrize("name", CASES)
def test_state_keys_and_shapes_are_the_official_ones(name: str) -> None:
    meta, keys, _ = golden(name)
    detector = build(name, ["a", "b", "c"])
    state = detector.state_dict()
    assert {key: list(value.shape) for key, value in state.items()} == keys
    assert list(state) == list(keys)
    assert sum(p.numel() for p in detector.parameters()) == meta["parameters"]
    assert list(detector.strides) == meta["strides"]
    assert [int(key) for key in detector.layers[-1].sources] == meta["head_from"]


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_outputs_and_features(name: str) -> None:
    meta, _, arrays = golden(name)
    detector = filled(name)
    layers = [key.split("_")[1] for key in arrays if key.endswith("_shape")]
    (decoded, raw), _ = detector.forward_once(normal_image(meta["image_size"]), profile=True)
    output = detector(normal_image(meta["image_size"]), layers)
    for level, tensor in enumerate(output.raw):
        assert_equal(tensor, arrays[f"raw_{level}"])
        assert_equal(tensor, arrays[f"train_raw_{level}"])
        assert_equal(raw[level], arrays[f"raw_{level}"])
    assert_equal(decoded, arrays["decoded"])
    assert len(layers) == len(output.taps) >= 6
    for layer, feature in zip(layers, output.taps, strict=True):
        assert list(feature.shape) == arrays[f"feature_{layer}_shape"].tolist()
        sample = feature[:, :: max(1, feature.shape[1] // 8)][:, :8]
        assert_equal(sample, arrays[f"feature_{layer}_sample"])


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_predictions_are_the_decoded_rows(name: str) -> None:
    meta, _, arrays = golden(name)
    size = (meta["image_size"], meta["image_size"])
    detector = filled(name)
    found = detector.decode(detector(normal_image(size[0])).raw, size)
    centre, half = arrays["decoded"][..., :2], arrays["decoded"][..., 2:4] / 2
    assert_equal(found.xyxy, torch.cat((centre - half, centre + half), -1))
    assert_equal(found.objectness.sigmoid(), arrays["decoded"][..., 4])
    assert_equal(found.logits.sigmoid(), arrays["decoded"][..., 5:])
    cells = [tensor[0, ..., 0].numel() for tensor in detector(normal_image(size[0])).raw]
    assert found.level.tolist() == [level for level, n in enumerate(cells) for _ in range(n)]


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_the_fused_model_gives_the_same(name: str) -> None:
    meta, _, arrays = golden(name)
    (decoded, _), _ = (
        filled(name).fused().forward_once(normal_image(meta["image_size"]), profile=True)
    )
    assert_equal(decoded, arrays["decoded"])


# Features: mean, deviation of each level. Heads: the same. Then four and three single numbers.
TRAINING = {
    "yolov7-tiny": (
        [(0.3559, 0.6135), (0.3554, 0.6144), (0.3606, 0.6140)],
        [(0.0603, 0.7141), (0.0055, 0.7019), (-0.0245, 0.7303)],
        [0.221, -0.732, -0.002, 1.197],
        [-1.163, -0.657, 0.248],
    ),
    "yolov7": (
        [(0.2001, 0.5683), (0.1995, 0.5639), (0.2046, 0.5570)],
        [(-0.0321, 0.9032), (0.0131, 0.9162), (-0.0347, 0.8976)],
        [-0.224, 0.412, -0.047, 0.110],
        [-1.893, 0.761, 0.734],
    ),
    "yolov5n": (
        [(0.1997, 0.5747), (0.1984, 0.5784), (0.2043, 0.5559)],
        [(0.0152, 0.6102), (0.0205, 0.6145), (-0.0054, 0.6018)],
        [0.076, -0.867, 0.536, -0.462],
        [0.378, 0.739, 0.459],
    ),
    "yolov5m": (
        [(0.1986, 0.5741), (0.1970, 0.5736), (0.2042, 0.5616)],
        [(0.0022, 0.6056), (0.0256, 0.5968), (0.0017, 0.5957)],
        [0.019, 0.511, -0.472, -0.365],
        [-0.329, 0.837, -0.350],
    ),
    "yolov5n6": (
        [(0.1983, 0.5835), (0.1917, 0.5809), (0.2036, 0.5667), (0.2108, 0.5566)],
        [(-0.0298, 0.6186), (0.0082, 0.6197), (0.0185, 0.5986), (0.0021, 0.5945)],
        [-0.702, 0.056, -0.212, -0.114],
        [-1.465, -0.112, 0.232],
    ),
    "yolov5s6": (
        [(0.2012, 0.5678), (0.1991, 0.5752), (0.2036, 0.5658), (0.2120, 0.5480)],
        [(-0.0283, 0.6058), (-0.0033, 0.6105), (0.0020, 0.5947), (0.0138, 0.6033)],
        [-0.515, -0.195, -0.085, 0.065],
        [0.424, -0.166, 0.932],
    ),
    "yolov7-w6": (
        [(0.2014, 0.5707), (0.2010, 0.5658), (0.2054, 0.5618), (0.2116, 0.5484)],
        [
            *((-0.0112, 0.5972), (-0.0189, 0.6063), (-0.0099, 0.6036), (-0.0058, 0.5943)),
            *((0.0104, 0.6024), (-0.0032, 0.5962), (0.0192, 0.5925), (0.0123, 0.5928)),
        ],
        [-0.680, 0.208, -0.235, -0.187],
        [0.116, 0.034, -0.159],
    ),
}


@pytest.mark.parametrize("name", TRAINING)
@torch.no_grad()
def test_the_training_pass(name: str) -> None:
    features, heads, first, last = TRAINING[name]
    detector = build(name, COCO)
    fill_hashed(detector, gain=12)
    raw, maps = detector.train().forward_once(
        hashed_image(2), extra_features=list(detector.levels.values())
    )
    statistics = [(x.mean().item(), x.std().item()) for x in (*maps, *raw)]
    for actual, expected in zip(statistics, features + heads, strict=True):
        assert actual == pytest.approx(expected, abs=6e-5)
    assert raw[0][0, 0, 0, 0, :4].tolist() == pytest.approx(first, abs=1e-3)
    assert raw[-1][1, 2, -1, -1, -3:].tolist() == pytest.approx(last, abs=1e-3)
    if name == "yolov7":
        state = detector.state_dict()
        mean, variance = state["model.0.bn.running_mean"], state["model.0.bn.running_var"]
        assert mean[:2].tolist() == pytest.approx([0.002075920, 0.009861219], rel=1e-4)
        assert variance[:2].tolist() == pytest.approx([0.97201854, 0.97213447], rel=1e-6)
        branch = state["model.102.rbr_1x1.1.running_var"]
        assert branch[:2].tolist() == pytest.approx([0.98131251, 0.97984242], rel=1e-5)


EVALUATION = {
    "yolov7": (
        [3.6474, 4.5562, 11.7477, 16.6497, 0.5580, 0.5176],
        [110.0564, 112.4207, 446.9116, 478.6691, 0.5015, 0.4961],
        [56.6147, 0.48960, 0.50118],
    ),
    "yolov7x": (
        [4.8468, 4.2346, 12.2542, 18.7207, 0.4805, 0.4880],
        [111.5518, 111.5524, 485.4818, 356.7299, 0.4807, 0.5019],
        [54.5826, 0.49834, 0.49972],
    ),
    "yolov7-w6": (
        [3.9215, 3.7342, 16.7961, 31.1989, 0.5035, 0.5213],
        [93.6965, 102.8307, 1126.105, 940.2269, 0.5249, 0.4970],
        [70.3626, 0.49636, 0.49868],
    ),
}


@pytest.mark.parametrize("name", EVALUATION)
@torch.no_grad()
def test_the_evaluation_pass(name: str) -> None:
    first, last, means = EVALUATION[name]
    detector = build(name, COCO)
    fill_hashed(detector, gain=34)
    forms = [detector.eval(), detector.fused()] if name == "yolov7" else [detector.fused()]
    for form in forms:
        (decoded, _), _ = form.forward_once(hashed_image(1), profile=True)
        assert decoded.shape == (1, 1020 if name == "yolov7-w6" else 1008, 85)
        assert decoded[0, 0, :6].tolist() == pytest.approx(first, rel=1e-4)
        assert decoded[0, -1, :6].tolist() == pytest.approx(last, rel=1e-4)
        parts = (decoded[..., :4], decoded[..., 4], decoded[..., 5:])
        assert [part.mean().item() for part in parts] == pytest.approx(means, rel=1e-4)
