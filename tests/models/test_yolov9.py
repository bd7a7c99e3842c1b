"""YOLOv9's graphs equal the published implementation, number for number."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.models.repeatable_weights import normal_image
from tests.models.yolov9_golden import CASES, filled, golden
from tutelage.errors import ConfigError
from tutelage.models import build
from tutelage.models.catalog import recognise
from tutelage.models.cost import cost
from tutelage.models.heads import DFLDetect


def assert_equal(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


def own_row(published: int) -> int:
    """The published head is row 22; the rows after it move up."""
    return published - (published > 22)


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_outputs_and_features(name: str) -> None:
    meta, _, arrays = golden(name)
    detector, rows = filled(name), meta["feature_rows"]
    output = detector(normal_image(meta["image_size"]), [own_row(row) for row in rows])
    assert len(output.raw) == 3
    for level, raw in enumerate(output.raw):
        assert_equal(raw, arrays[f"raw_{level}"])
    for row, feature in zip(rows, output.taps, strict=True):
        assert list(feature.shape) == arrays[f"feature_{row}_shape"].tolist()
        some = feature[:, :: max(1, feature.shape[1] // 4)][:, :4]
        some = some[:, :, :: max(1, some.shape[2] // 8), :: max(1, some.shape[3] // 8)]
        assert_equal(some, arrays[f"feature_{row}_sample"])


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_predictions(name: str) -> None:
    meta, _, arrays = golden(name)
    size = (meta["image_size"], meta["image_size"])
    images = normal_image(size[0])
    for detector in (filled(name), filled(name).fused()):
        found = detector.decode(detector(images).raw, size)
        assert_equal(found.xyxy, arrays["xyxy"])
        assert_equal(found.logits.sigmoid(), arrays["scores"])
        assert found.objectness is None
        assert found.bins.shape == (2, 84, 4, 16)
        assert found.grids == ((8, 8), (4, 4), (2, 2))
        assert found.level.bincount().tolist() == [64, 16, 4]


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_the_auxiliary_levels_follow_in_training_alone(name: str) -> None:
    meta, _, arrays = golden(name)
    detector = filled(name)
    detector.train()
    try:
        for module in detector.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        raw = detector(normal_image(meta["image_size"])).raw
    finally:
        detector.eval()
    assert len(raw) == 6
    for level in range(3):
        assert_equal(raw[level], arrays[f"raw_{level}"])
        assert_equal(raw[3 + level][:, ::8], arrays[f"aux_raw_{level}"])
    fused = detector.fused()
    assert type(fused.head) is DFLDetect
    assert {type(fused.model[row]) for row in detector.auxiliary} == {nn.Identity}
    assert min(detector.auxiliary) == 22


@pytest.mark.parametrize("name", CASES)
def test_a_training_pass_and_the_number_of_parameters(name: str) -> None:
    meta, _, arrays = golden(name)
    detector = build(name, ["a", "b", "c"])
    assert sum(p.numel() for p in detector.parameters()) == meta["parameters"]
    detector.load_state_dict(filled(name).state_dict())
    raw = detector.train()(normal_image(meta["image_size"])).raw
    found = torch.tensor([[x.mean().item(), x.std().item()] for x in raw]).double()
    torch.testing.assert_close(found, arrays["train_mode_means"], rtol=1e-4, atol=1e-4)


# Millions of parameters and GFLOPs at 640 px, as MultimediaTechLab/YOLO lists them (T: counted).
PUBLISHED = {
    "yolov9-t": (2.4, 9.8),
    "yolov9-s": (7.1, 26.4),
    "yolov9-m": (20.0, 76.3),
    "yolov9-c": (25.3, 102.1),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_deployed_size_is_the_published_one(name: str) -> None:
    with torch.device("meta"):
        detector = build(name, [str(i) for i in range(80)])
        found = cost(detector.fused())
    assert (round(found.parameters / 1e6, 1), round(found.gflops, 1)) == PUBLISHED[name]


def test_a_fresh_head_finds_nothing() -> None:
    """The published start: scores of sigmoid(-10), equal bins."""
    head = build("yolov9-t@0.25", ["a", "b"]).head
    for level in (*head.lead, *head.auxiliary):
        assert level.cls[2].bias.tolist() == [-10, -10]
        assert set(level.box[2].bias.tolist()) == {1}


def test_shares_of_the_width_are_recognised_and_no_width_is_an_accident_of_the_classes() -> None:
    names = [str(i) for i in range(64)]  # 4 x 16 bins + 64 classes = 128, a width of the graph
    detector = build("yolov9-t@0.5", names)
    assert recognise(detector.arch) == "yolov9-t@0.5"
    assert detector.layers[8].channels == 64
    for share in (0.3, 0.7):  # channels are rounded up, and parts of maps keep fitting
        build(f"yolov9-c@{share}", ["a"])


@pytest.mark.parametrize("name", ["yolov9-t6", "yolov9-e"])
def test_sizes_that_do_not_exist(name: str) -> None:
    with pytest.raises(
        ConfigError, match=r"sizes of YOLOv9 are yolov9-t, .*, yolov9-c; none has P6\."
    ):
        build(name, ["a"])
