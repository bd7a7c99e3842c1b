"""Runtimes of the teacher that cannot be had."""

import pytest
import torch

from tests.run.small_runs import settings
from tutelage.errors import ConfigError, MissingExtraError
from tutelage.setup import teacher_runtime as module
from tutelage.setup.teacher_runtime import check_runtime

CPU = torch.device("cpu")


def check(runtime, device=CPU, teacher="t.pt", **train):
    distill = {"teacher": teacher, "teacher_runtime": runtime}
    check_runtime(settings("d", "p", distill=distill, train=train), device)


@pytest.mark.parametrize("runtime", ["auto", "torch"])
@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_what_always_works(runtime, device, monkeypatch):
    monkeypatch.setattr(module, "has_bfloat16", lambda: False)
    check(runtime, torch.device(device), "torchvision:fcos_resnet50_fpn", rect=True)


@pytest.mark.parametrize(
    ("runtime", "options", "message"),
    [
        ("bf16", {"teacher": "hf:some/detr"}, "hf:some/detr is run by its own library"),
        ("bf16", {"device": torch.device("cuda")}, "on CUDA the teacher runs in half precision"),
        ("openvino", {"device": torch.device("mps")}, r"is for CPUs\."),
        ("bf16", {}, "does not compute in bfloat16"),
        ("compile", {}, r"needs a C\+\+ compiler, and 'g9' is not on this machine"),
        ("openvino", {"multi_scale": True}, "needs images of one size, and train.multi_scale"),
        ("openvino-int8", {"rect": True}, "needs images of one size, and train.rect"),
    ],
)
def test_what_cannot_be_had(runtime, options, message, monkeypatch):
    monkeypatch.setattr(module, "has_bfloat16", lambda: False)
    monkeypatch.setenv("CXX", "g9")
    with pytest.raises(ConfigError, match=message) as caught:
        check(runtime, **options)
    assert caught.value.code == "T46"


def test_one_native_teacher_is_enough(monkeypatch):
    monkeypatch.setattr(module, "has_bfloat16", lambda: True)
    check("bf16", teacher=("hf:some/detr", "t.pt"))


@pytest.mark.parametrize("runtime", ["openvino", "openvino-int8"])
def test_packages_that_are_missing(runtime, monkeypatch):
    monkeypatch.setattr("tutelage.optional_packages.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tutelage\[openvino\]'"):
        check(runtime)
