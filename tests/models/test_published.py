"""Whole pickled models of every generation, as the published code writes them."""

from __future__ import annotations

import argparse
import copy
import warnings
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.models.forward_passes import assert_same_outputs
from tests.models.graphs import MENAGERIE
from tests.models.repeatable_weights import fill_normal
from tests.weights.publishing import Wardrobe, publish, published
from tutelage.errors import WeightsError
from tutelage.models import GraphDetector, build, load
from tutelage.models.catalog import named
from tutelage.models.summary import summarise
from tutelage.models.weight_file import read_checkpoint
from tutelage.weights import read_foreign, save_best


def filled(arch: Any) -> GraphDetector:
    detector = build(arch, ["a", "b"])
    fill_normal(detector)
    return detector.eval()


def write(path: Path, detector: GraphDetector, *, legacy: bool = False, **entries: Any) -> Path:
    """A training checkpoint with extras; ``entries`` beginning with ``_`` are of the model."""
    wardrobe = Wardrobe()
    own = {key[1:]: entries.pop(key) for key in list(entries) if key.startswith("_")}
    model = published(detector, wardrobe, **own).half()
    wrap = entries.pop("wrap", None)
    model = wrap(model) if wrap else model
    with wardrobe.open(), warnings.catch_warnings(action="ignore"):
        content = {"epoch": 2, "ema": model, "model": None, **entries}
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


GENERATIONS: dict[str, dict[str, Any]] = {
    "yolov5 5.0": {"_yaml_file": "yolov5n.yaml", "training_results": None, "wandb_id": "1a"},
    "yolov5 6.1": {"date": "2022-03-18T22:28:27", "updates": 12, "best_fitness": np.array([0.5])},
    "yolov5 7.0": {
        "_kind": "DetectionModel",
        "_names": {0: "a", 1: "b"},
        "_class_weights": torch.ones(2),
        "opt": {"weights": "", "hyp": {"lr0": 0.01}, "save_dir": str(Path("runs/exp"))},
        "git": {"remote": "https://host/repository.git", "branch": "master", "commit": "1a2b"},
        "date": "2023-01-01T00:00:00",
    },
    "yolov7": {"training_results": "0/300 1.2G\n", "wandb_id": None, "_gr": 1.0, "_traced": False},
    "numpy scalars": {"best_fitness": np.float64(0.25), "updates": np.int64(7)},
    "optimizer": {
        "optimizer": {
            "state": {0: {"momentum_buffer": torch.ones(3), "step": torch.tensor(2.0)}},
            "param_groups": [{"lr": 0.01, "nesterov": True, "params": [0, 1]}],
        }
    },
    "data parallel": {"wrap": nn.DataParallel},
    "EMA and its count": {"wrap": lambda model: (model, 7)},
    "options as a namespace": {"opt": argparse.Namespace(save_dir=PurePosixPath("runs"), nc=2)},
    "windows": {"opt": {"save_dir": PureWindowsPath("runs/exp")}},
    "synchronised": {"wrap": nn.SyncBatchNorm.convert_sync_batchnorm},
    "legacy": {"legacy": True},
    "paths": {"opt": {"save_dir": Path("runs/exp"), "device": torch.device("cuda", 0)}},
}


@pytest.mark.parametrize("arch", ["yolov5n@0.5", "yolov7-tiny@0.125"])
@pytest.mark.parametrize("generation", GENERATIONS)
def test_generations(tmp_path: Path, arch: str, generation: str) -> None:
    detector = filled(arch)
    path = write(tmp_path / "a.pt", detector, **copy.deepcopy(GENERATIONS[generation]))
    restored = load(path)
    assert restored.names == ("a", "b")
    assert restored.arch_name == arch
    expected = copy.deepcopy(detector).half().float()
    assert_same_outputs(restored, expected, rtol=1e-5)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pickle_protocols(tmp_path: Path, protocol: int) -> None:
    detector, wardrobe = filled("yolov5n@0.5"), Wardrobe()
    content = {"model": published(detector, wardrobe), "best_fitness": np.array([0.5])}
    with wardrobe.open():
        torch.save(content, tmp_path / "a.pt", pickle_protocol=protocol)
    assert_same_outputs(load(tmp_path / "a.pt"), detector, rtol=1e-5)


@pytest.mark.parametrize("way", ["hub", "old hub", "backend", "ensemble", "ema"])
def test_networks_inside_other_objects(tmp_path: Path, way: str) -> None:
    detector, wardrobe = filled("yolov5n@0.5"), Wardrobe()
    inner = published(detector, wardrobe)

    def around(name: str, child: nn.Module, key: str = "model") -> nn.Module:
        home = "models.experimental" if name == "Ensemble" else "models.common"
        outer = wardrobe.made(home, name)
        outer.add_module(key, child)
        return outer

    backend = around("DetectMultiBackend", inner)
    average = wardrobe.made("utils.torch_utils", "ModelEMA")
    average.__dict__["ema"] = inner
    content = {
        "hub": around("AutoShape", backend),
        "old hub": {"model": around("autoShape", inner)},
        "backend": backend,
        "ensemble": {"model": around("Ensemble", inner, "0")},
        "ema": {"ema": average},
    }[way]
    with wardrobe.open():
        torch.save(content, tmp_path / "a.pt")
    assert_same_outputs(load(tmp_path / "a.pt"), detector, rtol=1e-5)
    several = around("Ensemble", inner, "0")
    several.add_module("1", inner)
    with wardrobe.open():
        torch.save({"model": several}, tmp_path / "b.pt")
    with pytest.raises(WeightsError, match="is an ensemble of 2 networks"):
        load(tmp_path / "b.pt")


@pytest.mark.parametrize("arch", ["yolov5n@0.5", "yolov7-w6@0.125"])
@pytest.mark.parametrize("prefix", ["", "module.model.", "_orig_mod.model.", "net.a.model."])
def test_prefixes_of_state_dicts(tmp_path: Path, arch: str, prefix: str) -> None:
    detector = filled(arch)
    state = {prefix + k.removeprefix("model."): v for k, v in detector.state_dict().items()}
    torch.save({"state_dict": state | {"loss.weight": torch.ones(2)}}, tmp_path / "a.pt")
    save_best(tmp_path / "a.safetensors", state, {})
    for path in (tmp_path / "a.pt", tmp_path / "a.safetensors"):
        assert_same_outputs(load(path), detector, rtol=1e-5)
        assert summarise(path).architecture == arch


def test_what_counters_of_operations_leave_behind(tmp_path: Path) -> None:
    detector, wardrobe = filled("yolov7-tiny@0.125"), Wardrobe()
    model = published(copy.deepcopy(detector), wardrobe)
    for module in model.modules():
        for name in ("total_ops", "total_params"):
            module.register_buffer(name, torch.zeros(1, dtype=torch.float64))
    with wardrobe.open():
        torch.save({"model": model}, tmp_path / "a.pt")
    assert_same_outputs(load(tmp_path / "a.pt"), detector, rtol=1e-5)


def test_the_activation_is_that_of_the_model_object(tmp_path: Path) -> None:
    """A yaml leaves the default out, and releases had other ones."""
    detector = filled({**named("yolov5n@0.5"), "activation": "nn.Hardswish()"})
    del detector.arch["activation"]
    path = publish(detector, tmp_path / "a.pt", half=False)
    assert_same_outputs(load(path), detector, rtol=1e-5)
    assert load(path).arch["activation"] == "nn.Hardswish()"
    assert read_foreign(publish(filled("yolov7@0.125"), path)).yaml.get("activation") is None


@pytest.mark.parametrize("form", ["model", "state"])
def test_a_folded_graph_with_auxiliary_levels(tmp_path: Path, form: str) -> None:
    """Ours has no auxiliary rows, and the others keep their numbers."""
    detector = filled("yolov7-w6@0.125")
    path, deploy = tmp_path / "a.pt", detector.fused()
    if form == "model":
        publish(deploy, path, half=False)
    else:
        torch.save(deploy.state_dict(), path)
    restored = load(path)
    assert restored.arch_name == "yolov7-w6@0.125"
    assert sorted(restored.auxiliary) == [118, 119, 120, 121]
    assert_same_outputs(restored, detector)


def test_a_bare_model(tmp_path: Path) -> None:
    detector, wardrobe = filled("yolov7-tiny@0.125"), Wardrobe()
    model = published(detector, wardrobe)
    with wardrobe.open():
        torch.save(model, tmp_path / "init.pt")
    assert_same_outputs(load(tmp_path / "init.pt"), detector)


def test_a_graph_of_ones_own_comes_with_its_yaml(tmp_path: Path) -> None:
    detector = filled(MENAGERIE)
    restored = load(publish(detector, tmp_path / "mine.pt", half=False))
    assert restored.arch_name == "mine"
    assert [row.block for row in restored.layers] == [row.block for row in detector.layers]
    assert_same_outputs(restored, detector)


def test_unknown_blocks_are_all_named(tmp_path: Path) -> None:
    detector = filled(MENAGERIE)
    arch = copy.deepcopy(MENAGERIE)
    arch["backbone"][1][2] = "GhostConv"
    arch["backbone"][4][2] = arch["head"][0][2] = "CBAM"
    detector.arch = arch
    path = publish(detector, tmp_path / "mine.pt")
    first = len(arch["backbone"])
    with pytest.raises(WeightsError) as caught:
        load(path)
    assert f"GhostConv (row 1), CBAM (row 4, {first})" in caught.value.what
    assert "docs/architecture.md" in caught.value.fix
    assert read_checkpoint(path).arch_name == "mine"  # reading alone does not need the blocks


def test_a_yaml_of_another_length_is_told(tmp_path: Path) -> None:
    detector = filled("yolov7-tiny@0.125")
    detector.arch = {**detector.arch, "backbone": detector.arch["backbone"][1:]}
    path = publish(detector, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="yaml has 77 rows, but the file has its head in row"):
        load(path)


def test_a_model_and_its_file_do_not_share_memory(tmp_path: Path) -> None:
    """Files are mapped while they are read; what somebody does to them later changes no model."""
    detector = filled("yolov7-tiny@0.125")
    path = publish(detector, tmp_path / "a.pt", half=False)
    whole = path.read_bytes()
    for value in read_foreign(path).state.values():
        value.zero_()
    assert path.read_bytes() == whole
    restored = load(path)
    with path.open("r+b") as file:
        file.write(bytes(len(whole)))
    assert_same_outputs(restored, detector, rtol=0)
