"""What every teacher of another library keeps."""

import pytest
import torch

from tests.teachers.library_networks import teacher as make
from tutelage.errors import ConfigError
from tutelage.teachers import Teacher, fingerprint

FAMILIES = {  # its taps as (key, stride)
    "torchvision:retinanet_resnet50_fpn_v2": [("p3", 8), ("p4", 16), ("p5", 32), ("p6", 64)],
    "torchvision:fcos_resnet50_fpn": [("p3", 8), ("p4", 16), ("p5", 32), ("p6", 64)],
    "torchvision:ssdlite320_mobilenet_v3_large": [("p4", 16), ("p5", 32), ("p6", 64)],
    "torchvision:fasterrcnn_resnet50_fpn": [("p2", 4), ("p3", 8), ("p4", 16), ("p5", 32)],
    "torchvision:fasterrcnn_mobilenet_v3_large_320_fpn": [("p5", 32), ("p6", 64)],
    "hf:rt_detr": [("p3", 8), ("p4", 16), ("p5", 32)],
    "hf:rt_detr_v2": [("p3", 8), ("p4", 16), ("p5", 32)],
    "hf:d_fine": [("p3", 8), ("p4", 16), ("p5", 32)],
    "hf:detr": [("p5", 32)],
    "custom": [("p3", 8), ("p4", 16)],
}
PREDICTING = [family for family in FAMILIES if family != "custom"]


@pytest.fixture(scope="module")
def teacher():
    """Return a family's teacher; made once, and only the latest is kept."""
    made = {}

    def get(family):
        if family not in made:
            made.clear()
            made[family] = make(family)
        return made[family]

    return get


def image_hw(family):
    return (320, 384) if "ssd" in family else (128, 192)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_teacher_of_another_library(teacher, family):
    one = teacher(family)
    expected = FAMILIES[family]
    assert isinstance(one, Teacher)
    assert one.title
    assert [(tap.key, tap.stride) for tap in one.taps[: len(expected)]] == expected
    assert one.stride == max(32, *(tap.stride for tap in one.taps))
    chosen = one.sharing([key for key, _ in expected])
    assert chosen.stride == max(32, expected[-1][1])

    height, width = image_hw(family)
    images = torch.rand(2, 3, height, width, requires_grad=True)
    before = fingerprint(chosen.state())
    with torch.enable_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        knowledge = chosen(images)
    assert knowledge.predictions is None
    for tap, feature in zip(chosen.taps, knowledge.features, strict=True):
        assert feature.shape == (2, tap.channels, height // tap.stride, width // tap.stride)
        assert feature.dtype == torch.float32
        assert not feature.requires_grad
    again = chosen(images.detach().half())
    assert all(map(torch.is_tensor, again.features))
    assert again.features[0].dtype == torch.float32
    assert fingerprint(chosen.state()) == before
    assert not any(tensor.requires_grad for _, tensor in chosen.state())


@pytest.mark.parametrize("family", PREDICTING)
def test_predictions_of_another_library(teacher, family):
    one = teacher(family)
    height, width = image_hw(family)
    images = torch.rand(2, 3, height, width)
    before = fingerprint(one.state())
    knowledge = one(images, predictions=True)
    found = knowledge.predictions
    assert found is not None
    count = found.level.shape[0]
    assert one.names == ("a", "b", "c")
    assert found.xyxy.shape == (2, count, 4)
    assert found.logits.shape == (2, count, 3)
    assert found.logits.isfinite().all()
    assert found.xyxy.isfinite().all()
    assert not found.logits.requires_grad
    assert found.xyxy.amax() > 4  # pixels, not fractions
    assert found.xyxy.amax() < 3 * width
    assert (found.xyxy[..., 2:] >= found.xyxy[..., :2]).all()
    plain = one(images)
    for with_head, without in zip(knowledge.features, plain.features, strict=True):
        assert torch.equal(with_head, without)
    assert fingerprint(one.state()) == before


def test_the_order_of_sharing_is_kept_and_unknown_taps_are_told(teacher):
    one = teacher("custom")
    images = torch.rand(1, 3, 64, 96)
    both, swapped = one(images).features, one.sharing(["p4", "p3"])(images).features
    assert torch.equal(both[0], swapped[1])
    assert torch.equal(both[1], swapped[0])
    with pytest.raises(ConfigError, match=r"no tap 'p9'.*Taps: p3 p4"):
        one.sharing(["p9"])
