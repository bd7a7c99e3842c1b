"""A tiny detector, traced and converted once, and a run folder with its data."""

from __future__ import annotations

import copy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.export import ExportedProgram

from tests.cli.conftest import cli  # noqa: F401  (a fixture)
from tests.models.repeatable_weights import fill_normal
from tutelage.deploy.network import DeployedNetwork, trace
from tutelage.models import GraphDetector, build
from tutelage.weights.store import save_best

GRAPHS = [
    "onnx",
    pytest.param(
        "openvino",
        marks=pytest.mark.skipif(find_spec("openvino") is None, reason="needs openvino"),
    ),
]
NAMES = ("cell", "platelet")
SIZE = 64
TINY: dict[str, Any] = {
    "family": "yolov7",
    "nc": 2,
    "depth_multiple": 1.0,
    "width_multiple": 1.0,
    "anchors": [[10, 13, 16, 30], [30, 61, 62, 45]],
    "backbone": [
        [-1, 1, "Conv", [8, 3, 2]],
        [-1, 1, "Conv", [8, 3, 2]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "Conv", [16, 3, 2]],
    ],
    "head": [
        [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
        [[-1, 2], 1, "Concat", [1]],
        [-1, 1, "RepConv", [16, 3, 1]],
        [[6, 3], 1, "IDetect", ["nc", "anchors"]],
    ],
}


@pytest.fixture(scope="session")
def detector() -> GraphDetector:
    """Random weights that find something on any picture."""
    found = build(TINY, NAMES)
    fill_normal(found)
    return found.eval()


@pytest.fixture(scope="session")
def program(detector: GraphDetector) -> ExportedProgram:
    """The detector, traced."""
    return trace(DeployedNetwork(detector))


@pytest.fixture
def traced(program: ExportedProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports of this test use a copy of the traced detector instead of tracing."""
    monkeypatch.setattr(
        "tutelage.deploy.export.trace", lambda network, shape: copy.deepcopy(program)
    )


@pytest.fixture(scope="session")
def converted(program: ExportedProgram) -> Any:
    """The detector as an ONNX model; do not change it."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxslim")
    from tutelage.deploy.onnx import to_onnx

    return to_onnx(program)


@pytest.fixture
def graph(converted: Any, program: ExportedProgram, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A copy of the ONNX model, which every export of this test makes instead of converting."""
    pytest.importorskip("onnxruntime")
    mine = copy.deepcopy(converted)
    monkeypatch.setattr("tutelage.deploy.export.trace", lambda network, shape: program)
    monkeypatch.setattr("tutelage.deploy.onnx.to_onnx", lambda traced: mine)
    return mine


@pytest.fixture
def run(detector: GraphDetector, tmp_path: Path) -> Path:
    """A run folder whose data set lies beside it."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 3)):
        for kind in ("images", "labels"):
            (tmp_path / "d" / kind / split).mkdir(parents=True)
        for number in range(count):
            image = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "d" / "images" / split / f"{number}.png"), image)
            label = tmp_path / "d" / "labels" / split / f"{number}.txt"
            label.write_text(f"{number % 2} 0.5 0.5 0.5 0.5\n")
    data = tmp_path / "d.yaml"
    data.write_text(
        f"path: {tmp_path / 'd'}\ntrain: images/train\nval: images/val\n"
        f"names: [{', '.join(NAMES)}]\n"
    )
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(f"data: {data}\n")
    meta = {"arch": detector.arch, "arch_name": "tiny", "names": NAMES, "image_size": SIZE}
    meta["scores"] = {"AP": 0.5}
    save_best(folder / "best.safetensors", detector.state_dict(), meta)
    return folder


@pytest.fixture
def images() -> torch.Tensor:
    """Two pictures of another shape than the one that was traced."""
    return torch.rand(2, 3, 96, 48, generator=torch.Generator().manual_seed(1))
