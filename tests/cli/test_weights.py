"""``tutelage weights``: what is in a file, conversion, and every bad file with its message."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.models.repeatable_weights import fill_normal
from tests.weights.checkpoints import trained
from tests.weights.foreign import Writer, archive, call, model, tensor
from tests.weights.foreign import save as save_pickled
from tests.weights.publishing import Wardrobe, publish, published
from tutelage import load
from tutelage.models import GraphDetector, build
from tutelage.weights import load_best, save_best, save_last

GOLDEN = Path(__file__).parents[1] / "golden" / "checkpoints"


@pytest.fixture(scope="module")
def detector() -> GraphDetector:
    made = build("yolov7-tiny@0.125", ["cat", "dog"])
    fill_normal(made)
    return made


def rows(text: str) -> dict[str, str]:
    return {line[:14].strip(): line[14:].strip() for line in text.splitlines() if line[0] != " "}


def test_a_foreign_checkpoint(cli) -> None:
    answer = cli("weights", str(GOLDEN / "yolov7-tiny-w025-training.pt"))
    assert answer.code == 0, answer.err
    found = rows(answer.out)
    assert found["kind"] == "training checkpoint of epoch 4: its EMA"
    assert found["architecture"] == "yolov7-tiny@0.25 (78 rows)"
    assert found["form"] == "yolov7, training form"
    assert found["classes"] == "3: WBC, RBC, Platelets"
    assert found["tensors"] == "344, 383,544 parameters"
    assert found["precision"] == "float16 387,276, int64 55"
    assert (found["strides"], found["epoch"], found["date"]) == ("8 16 32", "4", "not stored")
    assert "optimizer         state of an optimizer, 1 groups" in answer.out
    assert "updates           120" in answer.out


def test_json_and_a_date(cli, detector, tmp_path) -> None:
    publish(detector, tmp_path / "a.pt", date="2023-01-02T03:04:05")
    found = json.loads(cli("weights", "a.pt", "--json").out)
    assert (found["date"], found["epoch"], found["unknown_blocks"]) == (
        "2023-01-02T03:04:05",
        -1,
        [],
    )
    assert found["holds"]["model"] == "models.yolo.Model"
    assert found["bytes"] == (tmp_path / "a.pt").stat().st_size


def test_our_own_files(cli, detector, tmp_path) -> None:
    run = tmp_path / "runs"
    run.mkdir()
    meta = {
        "arch": detector.arch,
        "arch_name": detector.arch_name,
        "names": ["cat", "dog"],
        "strides": [8, 16, 32],
        "training": {"epochs": 7},
    }
    save_best(run / "best.safetensors", detector.state_dict(), meta)
    found = rows(cli("weights", "runs").out)
    assert (found["kind"], found["epoch"]) == ("weights of a run", "7")
    assert found["architecture"] == "yolov7-tiny@0.125 (78 rows)"
    average = {f"module.{key}": value for key, value in detector.state_dict().items()}
    state = {"format": "tutelage-last-2", "ema": {"n_averaged": torch.tensor(3), **average}}
    save_last(run / "last.pt", {**state, "config": "x\n" * 5_000, "optimizer": {}})
    answer = cli("weights", "runs/last.pt")
    found = rows(answer.out)
    assert found["kind"] == "the training state of a run: its EMA"
    assert found["architecture"] == "yolov7-tiny@0.125 (78 rows)"
    assert "config     text of 10000 letters" in answer.out
    answer = cli("weights", "runs/last.pt", "--to", "x.safetensors")
    assert (answer.code, "best.safetensors" in answer.err) == (4, True)


def test_blocks_that_are_not_known(cli, detector, tmp_path) -> None:
    wardrobe = Wardrobe()
    arch = {**detector.arch, "backbone": [[*detector.arch["backbone"][0][:2], "CBAM", [8]]] * 2}
    made = published(detector, wardrobe, yaml=arch)
    with wardrobe.open():
        torch.save({"model": made}, tmp_path / "a.pt")
    found = rows(cli("weights", "a.pt").out)
    assert (found["architecture"].split(" (")[0], found["cannot build"]) == (
        "a graph of its own",
        "CBAM",
    )
    answer = cli("weights", "a.pt", "--to", "b.safetensors")
    assert (answer.code, "CBAM (row 0, 1)" in answer.err) == (4, True)
    assert not (tmp_path / "b.safetensors").exists()


def test_conversion(cli, detector, tmp_path) -> None:
    publish(detector, tmp_path / "a.pt")
    answer = cli("weights", "a.pt", "--to", "a.safetensors")
    assert answer.code == 0, answer.err
    assert answer.out.startswith("a.pt is now a.safetensors:\n")
    state, meta = load_best(tmp_path / "a.safetensors")
    assert meta["note"] == "plain weights, stripped, converted from a.pt"
    assert {value.dtype for value in state.values()} == {torch.float16, torch.int64}
    one, other = load(tmp_path / "a.pt"), load(tmp_path / "a.safetensors")
    assert (one.names, one.arch, one.strides) == (other.names, other.arch, other.strides)
    for key, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


def test_a_file_is_replaced_only_when_told(cli, detector, tmp_path) -> None:
    publish(detector, tmp_path / "a.pt")
    target = tmp_path / "b.safetensors"
    target.write_text("precious")
    answer = cli("weights", "a.pt", "--to", "b.safetensors")
    assert (answer.code, target.read_text()) == (2, "precious")
    assert "the file exists" in answer.err
    assert "--force" in answer.err
    assert cli("weights", "a.pt", "--to", "b.safetensors", "--force").code == 0
    assert load(target).names == ("cat", "dog")
    assert cli("weights", "a.pt", "--to", "b.onnx").code == 2
    answer = cli("weights", "a.pt", "--to", "none/b.safetensors")
    assert (answer.code, "there is no folder none" in answer.err) == (2, True)


def _zip_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(30_000_000))


def _poisoned(module: str, name: str) -> Callable[[Path], object]:
    content = {"model": model(tensor()), "x": call(module, name, "touch proof")}
    pickled = Writer().value(content).done()
    return lambda path: archive(pickled, path, {"data/0": bytes(24)})


def _diverged(path: Path) -> None:
    made = trained()
    made.model[0].bn.running_var[3] = float("nan")
    save_pickled({"model": made}, path)


def _classifier(path: Path) -> None:
    wardrobe = Wardrobe()
    made = wardrobe.made("models.yolo", "ClassificationModel")
    made.model = torch.nn.Sequential(
        torch.nn.Linear(2, 2), wardrobe.made("models.common", "Classify")
    )
    with wardrobe.open():
        torch.save({"model": made}, path)


BAD = {
    "text": (lambda p: p.write_text("no weights here"), "it is text ('no weights here'"),
    "HTML": (lambda p: p.write_text("<!DOCTYPE html><html>"), "it is an HTML page"),
    "LFS": (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\n"), "LFS pointer"),
    "empty": (lambda p: p.touch(), "is empty"),
    "truncated": (
        lambda p: p.write_bytes((GOLDEN / "yolov7-tiny-w025-stripped.pt").read_bytes()[:90_000]),
        "is truncated",
    ),
    "zip bomb": (_zip_bomb, "KB would become 30 MB"),
    "os.system": (_poisoned("os", "system"), "loading it would call os.system"),
    "eval": (_poisoned("builtins", "eval"), "loading it would call builtins.eval"),
    "hub": (_poisoned("torch.hub", "load"), "loading it would call torch.hub.load"),
    "numpy": (_poisoned("numpy", "load"), "loading it would call numpy.load"),
    "torch.nn": (_poisoned("torch.nn.modules.module", "os.system"), "would call torch.nn.modules"),
    "NaN": (_diverged, "has NaN values in model.0.bn.running_var"),
    "classifier": (_classifier, "is a classifier (models.yolo.ClassificationModel)"),
    "bare classifier": (
        lambda p: torch.save({"conv1.weight": torch.ones(1), "fc.weight": torch.ones(1)}, p),
        "holds the tensors of a classifier (fc.weight)",
    ),
    "torchvision": (_poisoned("torchvision.models.resnet", "ResNet"), "written with torchvision"),
    "YOLOv8": (_poisoned("ultralytics.nn.tasks", "DetectionModel"), "(YOLOv8 or later)"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_files(cli, tmp_path, kind: str) -> None:
    """Its own message, exit code 4, nothing executed, nothing written."""
    make, message = BAD[kind]
    path = tmp_path / "bad.pt"
    make(path)
    command = ("weights", "bad.pt", "--to", "good.safetensors")
    for argv in (command, ("layers", "bad.pt"), ("weights", "bad.pt")):
        if kind == "NaN" and argv == ("weights", "bad.pt"):
            continue  # shown without reading the values
        answer = cli(*argv)
        assert answer.code == 4, answer
        assert message in answer.err
        assert "Traceback" not in answer.err
        assert list(tmp_path.iterdir()) == [path]
