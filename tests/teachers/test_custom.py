import sys
import types

import pytest
import torch
from torch import nn

from tests.teachers.library_networks import Net
from tutelage.errors import ConfigError, TeacherError
from tutelage.structures import Predictions
from tutelage.teachers import FeatureTeacher, load_teacher

CPU = torch.device("cpu")


@pytest.fixture
def module(monkeypatch):
    made = types.ModuleType("my_teachers")
    made.__spec__ = types.SimpleNamespace(name="my_teachers")
    monkeypatch.setitem(sys.modules, "my_teachers", made)
    return made


def predict(out, size):
    boxes = out.new_tensor([0.0, 0.0, size[1], size[0]]).expand(len(out), 1, 4)
    return Predictions(boxes, out.mean((2, 3))[:, None], None, torch.zeros(1, dtype=torch.int64))


def test_a_network_with_a_predict_function():
    network = Net().eval()
    teacher = FeatureTeacher(
        network,
        {"p4": "deep"},
        names=list("abcdef"),
        predict=predict,
        mean=(0.5,) * 3,
        std=(2,) * 3,
    )
    images = torch.rand(2, 3, 64, 96)
    knowledge = teacher(images, predictions=True)
    assert torch.equal(knowledge.features[0], network((images - 0.5) / 2))
    assert knowledge.predictions is not None
    assert knowledge.predictions.xyxy[0, 0].tolist() == [0, 0, 96, 64]
    assert knowledge.predictions.logits.shape == (2, 1, 6)
    assert teacher.record["source"] == "Net"


def test_without_a_predict_function_there_are_no_predictions():
    teacher = FeatureTeacher(Net(), {"p3": "stem"}, title="mine")
    assert teacher.names == ()
    with pytest.raises(ConfigError, match="mine shares features only"):
        teacher(torch.rand(1, 3, 64, 64), predictions=True)


def test_a_tap_must_be_a_map_of_the_image():
    network = Net()
    network.idle = torch.nn.Flatten()
    network.forward = lambda x: network.idle(network.stem(x))
    with pytest.raises(ConfigError, match=r"'flat' is no map.*\[1, 2048\]"):
        FeatureTeacher(network, {"flat": "idle"})


def test_a_function_of_ones_own(module):
    module.build = lambda device: FeatureTeacher(Net(), {"p3": "stem"}, device=device)
    teacher = load_teacher("my_teachers:build", CPU)
    assert teacher(torch.rand(1, 3, 32, 32)).features[0].shape == (1, 4, 4, 4)
    assert teacher.record["source"] == "my_teachers:build"
    assert len(teacher.record["sha256"]) == 64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"taps": ()}, "at least one"),
        ({"taps": ("p3",)}, "Tap, but are"),
        ({"names": (1, 2)}, "names must be texts"),
        ({"record": None}, "record must be a dict"),
    ],
)
def test_an_object_that_is_no_teacher(module, change, message):
    def build(device):
        teacher = FeatureTeacher(Net(), {"p3": "stem"}, device=device)
        vars(teacher).update(change)
        return teacher

    module.build = build
    with pytest.raises(ConfigError, match=message):
        load_teacher("my_teachers:build", CPU)


def test_a_bare_network_is_no_teacher(module):
    module.build = lambda _: Net()
    with pytest.raises(ConfigError, match=r"a Net without title, names.*FeatureTeacher"):
        load_teacher("my_teachers:build", CPU)
    with pytest.raises(ConfigError, match=r"no function 'bild'.*Did you mean 'build'"):
        load_teacher("my_teachers:bild", CPU)


def test_names_without_predictions_are_of_no_use():
    assert FeatureTeacher(Net(), {"p3": "stem"}, names=["a", "b"]).names == ()


def test_a_function_of_the_user_that_fails_is_named(module):
    def broken(out, size):
        raise IndexError("no such thing")

    module.build = lambda device: 1 / 0
    with pytest.raises(TeacherError, match="my_teachers:build failed: ZeroDivisionError"):
        load_teacher("my_teachers:build", CPU)
    for predict, message in (
        (broken, "failed: IndexError: no such"),
        (lambda *_: None, "NoneType"),
    ):
        teacher = FeatureTeacher(Net(), {"p3": "stem"}, title="mine", names=["a"], predict=predict)
        with pytest.raises(TeacherError, match=f"predict of mine .*{message}"):
            teacher(torch.rand(1, 3, 64, 64), predictions=True)


class Picky(nn.Sequential):
    """Takes large images only."""

    def forward(self, x):
        if x.shape[-1] < 96:
            raise ValueError("too small for me\nand so on")
        return super().forward(x)


def test_a_network_that_fails_on_images_of_a_size_is_told_with_the_size():
    teacher = FeatureTeacher(Picky(nn.Conv2d(3, 4, 8, 8)), {"p3": "0"}, title="picky")
    assert teacher(torch.rand(1, 3, 96, 96)).features[0].shape[-1] == 12
    message = r"picky fails on images of 64×64 px: ValueError: too small for me\b"
    with pytest.raises(TeacherError, match=message) as caught:
        teacher(torch.rand(1, 3, 64, 64))
    assert "--img-size" in caught.value.fix


def test_memory_that_runs_out_is_no_fault_of_the_teacher():
    def full(images, predictions):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    teacher = FeatureTeacher(nn.Conv2d(3, 4, 8, 8), {"p3": ""})
    teacher._forward = full
    with pytest.raises(RuntimeError, match="allocate"):
        teacher(torch.rand(1, 3, 64, 64))
