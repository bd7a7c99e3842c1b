"""Image size and metadata travel with every form of a model."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.deploy.conftest import NAMES, SIZE
from tests.weights.publishing import publish
from tutelage import load
from tutelage.deploy.bench import bench
from tutelage.deploy.export import export
from tutelage.deploy.runtime import open_model
from tutelage.evaluation.predictor import load_predictor
from tutelage.models import GraphDetector, build
from tutelage.models.summary import convert, summarise
from tutelage.models.weight_file import read_checkpoint
from tutelage.weights.store import load_best, load_header, save_best

CPU = torch.device("cpu")
EXTRA: dict[str, Any] = {
    "scores": {"AP": 0.5, "note": "x"},
    "training": {"data": "/home/me/d.yaml", "epochs": 7, "seed": 3, "start": "/home/me/a.pt"},
    "teacher": [{"source": "/home/me/teacher", "sha256": "0"}, {"source": "torchvision:x"}],
}


@pytest.fixture
def rich(run: Path) -> Path:
    """The run folder, whose weights tell all that a run's tell."""
    state, header = load_best(run / "best.safetensors")
    save_best(run / "best.safetensors", state, {**header, "strides": [8, 16], **EXTRA})
    return run


def test_a_converted_file_keeps_what_the_run_knew(rich: Path, tmp_path: Path) -> None:
    once, twice = tmp_path / "once.safetensors", tmp_path / "twice.safetensors"
    convert(rich, once)
    convert(once, twice)
    before = load_header(rich / "best.safetensors")
    for path in (once, twice):
        after = load_header(path)
        assert after.pop("note").startswith("EMA weights of a run, converted from")
        assert after.pop("format") == "tutelage-1"
        assert after == before
        assert (summarise(path).strides, summarise(path).epoch) == ((8, 16), 7)
        assert load_predictor(path, CPU).image_size == SIZE


def test_a_detector_knows_its_size_and_is_ready_to_predict(rich: Path) -> None:
    found = load(rich)
    assert not found.training
    assert (found.image_size, found.metadata["scores"]) == (SIZE, EXTRA["scores"])
    assert found.fused().image_size == SIZE
    assert load_predictor(found, CPU).image_size == open_model(found, "cpu").image_size == SIZE
    other = load(rich, names=["one"])
    assert (other.image_size, "scores" in other.metadata) == (SIZE, False)
    fresh = build("yolov7-tiny@0.125", NAMES)
    assert (fresh.image_size, fresh.training) == (None, True)


def test_initial_weights_bring_their_size(tmp_path: Path) -> None:
    made = build("yolov7-tiny@0.125", NAMES)
    header = {"arch": made.arch, "names": NAMES, "image_size": 96, "scores": {"AP": 0.5}}
    save_best(tmp_path / "a.safetensors", made.state_dict(), header)
    found = load("yolov7-tiny@0.125", weights=tmp_path / "a.safetensors")
    assert (found.image_size, dict(found.metadata)) == (96, {"image_size": 96})
    assert found.training  # it is made to be trained


def test_a_header_without_a_graph_may_tell_the_size(tmp_path: Path) -> None:
    made = build("yolov7-tiny@0.125", NAMES)
    save_best(tmp_path / "a.safetensors", made.state_dict(), {"names": NAMES, "image_size": 96})
    assert load(tmp_path / "a.safetensors").image_size == 96


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"imgsz": 320}, 320),
        ({"imgsz": [416, 416]}, 416),
        ({"img_size": (96, 64)}, 96),
        ({"imgsz": "320"}, None),
        ({"imgsz": []}, None),
        ({"imgsz": -32}, None),
        ("none", None),
    ],
)
def test_a_checkpoint_of_yolov5_tells_its_size(options: Any, size: Any, tmp_path: Path) -> None:
    made = build("yolov7-tiny@0.125", NAMES)
    path = publish(made, tmp_path / "a.pt", opt=options, date="2023-01-02T03:04:05")
    assert read_checkpoint(path).metadata.get("image_size") == size
    convert(path, tmp_path / "a.safetensors")
    assert load(tmp_path / "a.safetensors").image_size == size
    told = summarise(tmp_path / "a.safetensors")
    assert (told.date, told.epoch, told.strides) == ("2023-01-02T03:04:05", -1, (8, 16, 32))


def test_values_nested_too_deeply_are_left_behind(rich: Path) -> None:
    state, header = load_best(rich / "best.safetensors")
    deep: Any = 0
    for _ in range(100):
        deep = [deep]
    save_best(rich / "best.safetensors", state, {**header, "deep": deep, "flat": [1, 2]})
    found = load(rich)
    assert "deep" not in found.metadata
    assert found.metadata["flat"] == [1, 2]


@pytest.mark.parametrize("form", ["file", "detector"])
def test_an_export_is_made_and_verified_at_that_size(form, rich, tmp_path, traced):
    convert(rich, tmp_path / "file.safetensors")
    model = {"file": tmp_path / "file.safetensors", "detector": load(rich)}[form]
    images = tmp_path / "d" / "images" / "val"
    done = export(model, "pt2", out=tmp_path / "out.pt2", images=images)
    assert {way.canvas_hw[0] for way in done.ways} == {SIZE}
    about = done.metadata
    assert (about.image_size, about.strides, about.scores) == (SIZE, (8, 16), {"AP": 0.5})
    assert (about.training, about.teachers) == (
        {"epochs": 7, "seed": 3},
        ("teacher", "torchvision:x"),
    )
    assert about.data == "d.yaml"
    assert "/home/me" not in about.model_dump_json()


@pytest.mark.parametrize("form", ["text", "path", "detector", "list"])
def test_one_model_may_be_measured_without_a_list(form, rich, monkeypatch) -> None:
    asked = []

    def answer(command: list[str], **_: Any) -> SimpleNamespace:
        asked.append(request := json.loads(command[-1]))
        assert load(request["file"]).image_size == SIZE
        found = {"hardware": "cpu", "p50_ms": 1.0, "p95_ms": 1.0, "memory_mib": None}
        return SimpleNamespace(stdout=json.dumps(found), stderr="")

    monkeypatch.setattr("subprocess.run", answer)
    loaded = load(rich)
    models: Any = {"text": str(rich), "path": rich, "detector": loaded, "list": [loaded]}[form]
    [found] = bench(models, device="cpu")
    assert (found.image_size, asked[0]["size"]) == (SIZE, SIZE)
    assert found.model == (str(rich) if form in ("text", "path") else loaded.arch_name)


def test_two_detectors_and_a_file(rich: Path, detector: GraphDetector, monkeypatch) -> None:
    monkeypatch.setattr("tutelage.deploy.bench._measured", lambda subject, **_: subject)
    found: list[Any] = list(bench([rich, detector, load(rich)], device="cpu"))
    assert [each.image_size for each in found] == [SIZE, 640, SIZE]
