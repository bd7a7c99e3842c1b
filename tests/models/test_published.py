"""Whole pickled models of every generation, as the published code writes them."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.models.filling import fill_normal
from tests.models.graphs import MENAGERIE
from tests.models.test_forms import assert_same_outputs
from tests.weights.publishing import Wardrobe, publish, published
from tutelage.errors import WeightsError
from tutelage.models import GraphDetector, build, load
from tutelage.models.checkpoint import read_checkpoint
from tutelage.weights import read_foreign


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
    "legacy": {"legacy": True},
    "paths": {"opt": {"save_dir": Path("runs/exp"), "device": torch.device("cuda", 0)}},
}


@pytest.mark.parametrize("arch", ["yolov5n@0.125", "yolov7-tiny@0.125"])
@pytest.mark.parametrize("generation", GENERATIONS)
def test_generations(tmp_path: Path, arch: str, generation: str) -> None:
    detector = filled(arch)
    path = write(tmp_path / "a.pt", detector, **copy.deepcopy(GENERATIONS[generation]))
    restored = load(path)
    assert restored.names == ("a", "b")
    assert restored.arch_name.endswith("@0.125")
    expected = copy.deepcopy(detector).half().float()
    assert_same_outputs(restored, expected, rtol=1e-5)


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
    with pytest.raises(WeightsError, match="yaml has 77 rows, but the file has its anchors in row"):
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
