"""The plan as text."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tutelage.distill.methods import METHODS
from tutelage.run.summary import _connectors, _precision

CHANNELS = [(8, 16), (16, 16)]


def test_connectors_are_those_that_are_there():
    def told(name):
        return _connectors(METHODS[name](CHANNELS), 2)

    assert told("fgd") == (" connector 1×1", "")
    assert told("defeat") == (" connector 3×3", " connector 3×3")
    assert told("sl2") == (" connector 1×1 1×1", " connector 1×1 1×1")
    assert told("at") == told("bckd") == ("", "")
    assert _connectors(SimpleNamespace(), 3) == ("", "", "")


@pytest.mark.parametrize(
    ("setting", "matrix_unit", "width", "hint"),
    [
        ("auto", True, 1000, True),
        ("auto", True, 100, False),  # a small network gains nothing
        ("auto", False, 1000, False),
        ("fp32", True, 1000, False),
    ],
)
def test_a_faster_precision_is_named(monkeypatch, setting, matrix_unit, width, hint):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": matrix_unit})
    parts = SimpleNamespace(
        config=SimpleNamespace(train=SimpleNamespace(precision=setting)),
        accelerator=SimpleNamespace(device=torch.device("cpu")),
        precision="fp32",
        student=nn.Linear(1000, width),
    )
    assert ("--precision bf16" in _precision(parts)) is hint
