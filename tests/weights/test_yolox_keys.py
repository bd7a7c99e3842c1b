"""The published YOLOX weights are read as data and named."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.models.repeatable_weights import golden, published_state
from tutelage.errors import WeightsError
from tutelage.models.summary import summarise
from tutelage.weights import read_foreign
from tutelage.weights.yolox_keys import STEM, yolox_keys


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return published_state(golden("yolox-nano")[1])


def test_blocks_are_numbered_as_rows() -> None:
    renamed = yolox_keys({
        "backbone.backbone.stem.conv.conv.weight": 0,
        "backbone.backbone.dark3.1.m.2.conv2.pconv.bn.bias": 1,
        "backbone.backbone.dark5.1.conv1.conv.weight": 2,
        "backbone.C3_n4.conv3.conv.weight": 3,
        "head.cls_convs.1.0.dconv.conv.weight": 4,
        "backbone.unknown.conv.weight": 5,
    })  # fmt: skip
    assert renamed == {
        "model.0.conv.conv.weight": 0,
        "model.4.m.2.cv2.pconv.bn.bias": 1,
        "model.8.cv1.conv.weight": 2,
        "model.23.cv3.conv.weight": 3,
        "model.24.cls_convs.1.0.dconv.conv.weight": 4,
    }


def test_other_states_are_left_alone() -> None:
    assert yolox_keys({"model.0.conv.weight": 1, "model.24.anchors": 2}) is None


@pytest.mark.parametrize("form", ["published", "bare", "of a wrapper", "of training"])
def test_files_are_named(state: dict[str, torch.Tensor], tmp_path: Path, form: str) -> None:
    content = {
        "published": {"model": state, "start_epoch": 300, "best_ap": 0.25, "curr_ap": None},
        "bare": state,
        "of a wrapper": {"model": {f"module.{key}": x for key, x in state.items()}},
        "of training": {
            "model": state,
            "optimizer": {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": []},
        },
    }[form]
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    found = summarise(path)
    assert (found.architecture, found.form) == ("yolox-nano", "yolox")
    assert (found.rows, found.names) == (25, ("0", "1", "2"))


def test_whole_models_are_read_as_data(
    state: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their classes, which need not be there, are names of records."""
    home = "yolox.models.yolox"
    kind = type("YOLOX", (nn.Module,), {"__module__": home})
    model = kind()
    for key, value in state.items():
        *path, name = key.split(".")
        module = model
        for part in path:
            if part not in module._modules:
                module.add_module(part, kind())
            module = module.get_submodule(part)
        module.register_buffer(name, value)
    file = tmp_path / "whole.pth"
    with monkeypatch.context() as patched:
        for name in ("yolox", "yolox.models", home):
            patched.setitem(sys.modules, name, types.ModuleType(name))
        sys.modules[home].YOLOX = kind
        torch.save({"model": model, "start_epoch": 300}, file)
    assert summarise(file).architecture == "yolox-nano"
    found = read_foreign(file).state
    assert found.keys() == yolox_keys(state).keys()
    assert torch.equal(found["model.0.conv.conv.weight"], state[STEM])


def test_a_file_that_would_call_something_is_refused(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"model": state, "exp": _Calls()}, path)
    with pytest.raises(WeightsError, match="Nothing was executed"):
        read_foreign(path)


class _Calls:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("called",)
