from __future__ import annotations

import json
import math
from collections import namedtuple
from types import SimpleNamespace
from typing import Any

import pytest

from tests.evaluation.synthetic_coco import make_index
from tutelage.cli.val import suggestion
from tutelage.evaluation import score

ClassScore = namedtuple("ClassScore", "AP AP50 instances")


@pytest.fixture
def validation(monkeypatch) -> dict[str, Any]:
    """Stand for the evaluation itself; returns its last call."""
    call: dict[str, Any] = {}
    confidence = {
        "threshold": 0.43, "precision": 0.75, "recall": 0.5, "f1": 0.6,
        "classes": {"RBC": {"precision": 0.8123, "recall": 1.0, "f1": 0.8964}},
    }  # fmt: skip

    def validate(model, **options):
        call.update(model=model, **options)
        return SimpleNamespace(
            AP=0.4123, AP50=0.75, AP75=0.4, APs=math.nan, APm=0.3, APl=0.5, images=7, instances=12,
            per_class={"RBC": ClassScore(0.5, 0.8, 9), "a longer name": ClassScore(0.3, math.nan,
            3)},
            to_dict=lambda: {"AP": 0.4123, "APs": None}, diagnostics={"confidence": confidence},
        )  # fmt: skip

    monkeypatch.setattr("tutelage.api.evaluate.validate", validate)
    return call


def test_the_table(cli, validation) -> None:
    answer = cli("val", "runs/a", "--data", "d.yaml", "--split", "test")
    assert answer.code == 0
    assert answer.out == (
        "runs/a on test of d.yaml: 7 images, 12 objects\n"
        "class          objects     P      R    F1    AP  AP50  AP75  APs   APm   APl\n"
        "all                 12  .750   .500  .600  .412  .750  .400    -  .300  .500\n"
        "RBC                  9  .812  1.000  .896  .500  .800\n"
        "a longer name        3     -      -     -  .300     -\n"
        "P, R and F1 at IoU 0.5, score > 0.43, where the mean F1 is largest: "
        "--conf-thres 0.43 for predict\n"
    )
    assert validation == {
        "model": "runs/a", "data": "d.yaml", "split": "test", "image_size": None, "batch": 16,
        "device": "auto",
        "conf": 0.001, "iou": 0.65, "augment": False, "half": False,
        "single_cls": False, "rect": False,
    }  # fmt: skip


def test_options_and_yolo_spellings(cli, validation) -> None:
    answer = cli(
        "val", "--weights", "yolov7.pt", "--data", "d.yaml", "--img", "640", "--batch", "4",
        "--conf-thres", "0.01",
        "--iou-thres", "0.5", "--device", "1", "--augment", "--single-cls", "--rect", "--task",
        "val", "--verbose",
    )  # fmt: skip
    assert answer.code == 0
    assert validation == {
        "model": "yolov7.pt", "data": "d.yaml", "split": "val", "image_size": 640, "batch": 4,
        "device": "cuda:1",
        "conf": 0.01, "iou": 0.5, "augment": True, "half": False,
        "single_cls": True, "rect": True,
    }  # fmt: skip
    assert answer.out.startswith("--verbose has no effect here")


def test_json(cli, validation) -> None:
    answer = cli("val", "runs/a", "--data", "d.yaml", "--json", "--verbose")
    assert json.loads(answer.out) == {"AP": 0.4123, "APs": None}


@pytest.mark.parametrize(
    ("threshold", "conf", "shown"),
    [(0.4, 0.001, "0.4"), (0.0, 0.001, "0.001"), (0.12, 0.25, "0.25")],
)
def test_no_threshold_below_that_of_the_detections_is_suggested(threshold, conf, shown) -> None:
    scores = SimpleNamespace(diagnostics={"confidence": {"threshold": threshold}})
    line = suggestion(scores, conf)
    assert line.endswith(f"--conf-thres {shown} for predict")
    assert f"score > {shown}," in line
    assert len(line) <= 100


def test_nothing_found_and_nothing_to_find(cli, validation, monkeypatch) -> None:
    for index, empty in ((make_index(), False), (make_index(empty=True), True)):
        found = score(index, [])
        monkeypatch.setattr("tutelage.api.evaluate.validate", lambda *_, found=found, **__: found)
        lines = cli("val", "runs/a", "--data", "d.yaml").out.splitlines()
        assert lines[2].split()[2:6] == (["-"] * 4 if empty else [".000"] * 4)
        assert lines[-2].split() == ["absent", "0", *["-"] * 5]
        assert lines[-1] == (
            "No object was found at IoU 0.5: there is no --conf-thres to suggest for predict."
        )


def test_data_of_a_run_that_are_gone_are_named_with_their_file(cli, validation, tmp_path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "config.yaml").write_text("data: stored.yaml\n")
    answer = cli("val", "a")
    assert (answer.code, answer.err) == (
        3,
        "Error [D22]: stored.yaml does not exist: a/config.yaml names it as the data of this run.\n"
        "  Give its place:  --data data.yaml\n",
    )
    assert cli("val", "a", "--data", "moved.yaml").code == 0
    (tmp_path / "a" / "config.yaml").write_text("data: digits:easy\n")
    assert cli("val", "a").code == 0


def test_a_run_knows_its_data(cli, validation, tmp_path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "config.yaml").write_text("data: stored.yaml\n")
    (tmp_path / "stored.yaml").touch()
    assert cli("val", "a").code == 0
    assert validation["data"] == "stored.yaml"
    assert cli("val", "a/best.safetensors").code == 0
    answer = cli("val", "yolov7.pt")
    page = "https://github.com/WongKinYiu/yolov7/releases"
    fix = f"Give a run folder or a file.\n  Nothing is downloaded unasked; official weights: {page}"
    assert (answer.code, answer.err) == (4, f"Error [W10]: yolov7.pt does not exist.\n  {fix}\n")
    assert "yolov7 is an architecture: it has no trained weights" in cli("val", "yolov7").err
    assert page in cli("val", "yolov7").err
    (tmp_path / "yolov7.pt").touch()
    answer = cli("val", "yolov7.pt")
    assert (answer.code, answer.err) == (
        2,
        "Error [C26]: No data set is given.\n  tutelage val yolov7.pt --data data.yaml\n",
    )
    assert "No model is given" in cli("val", "--data", "d.yaml").err
