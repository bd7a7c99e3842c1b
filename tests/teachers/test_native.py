import pytest
import torch

from tutelage.models.build import load
from tutelage.teachers import NativeTeacher, Teacher, fingerprint


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return load("yolov7-tiny@0.25", names=["a", "b"]).eval()


def test_features_are_those_of_the_network_and_carry_no_gradient(network):
    teacher = NativeTeacher(network, ["65", "57"])
    images = torch.rand(2, 3, 64, 96)
    knowledge = teacher(images)
    expected = network(images, ["65", "57"]).taps
    assert isinstance(teacher, Teacher)
    assert knowledge.predictions is None
    for got, want in zip(knowledge.features, expected, strict=True):
        assert not got.requires_grad
        assert torch.allclose(got, want, rtol=1e-3, atol=1e-4)


def test_predictions_on_request(network):
    images = torch.rand(1, 3, 64, 64)
    found = NativeTeacher(network, ["57"])(images, predictions=True).predictions
    assert found is not None
    expected = network.decode(network(images).raw, (64, 64))
    torch.testing.assert_close(found.xyxy, expected.xyxy, rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-3, atol=1e-3)
    assert found.xyxy.shape == (1, 3 * (64 + 16 + 4), 4)
    assert found.logits.shape[-1] == 2


def test_the_network_itself_is_left_alone(network):
    before = fingerprint(network.state_dict().items())
    teacher = NativeTeacher(network, ["57"])
    held = fingerprint(teacher.state())
    teacher(torch.rand(1, 3, 64, 64))
    assert fingerprint(network.state_dict().items()) == before
    assert fingerprint(teacher.state()) == held
    assert dict(teacher.state()).keys() == network.fused().state_dict().keys()
    assert all(p.requires_grad for p in network.parameters())


def test_fingerprint_sees_one_bit():
    a = {"x": torch.zeros(3), "n": torch.tensor(1)}
    b = {"x": torch.tensor([0.0, 0.0, -0.0]), "n": torch.tensor(1)}
    assert fingerprint(a.items()) == fingerprint({k: v.clone() for k, v in a.items()}.items())
    assert fingerprint(a.items()) != fingerprint(b.items())
