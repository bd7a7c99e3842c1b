"""Command lines in the style of Ultralytics."""

from __future__ import annotations

import shlex

import pytest

from tutelage.cli.assignments import FLAGS, refuse_assignments
from tutelage.config.describe import leaves
from tutelage.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "here"),
    [
        (
            "train data=a.yaml model=yolov7-tiny.pt epochs=3 imgsz=320",
            "train --data a.yaml --weights yolov7-tiny.pt --epochs 3 --img-size 320",
        ),
        (
            "train model=yolov5n.yaml data=a.yaml lr0=0.005 mosaic=0.5 exist_ok=True rect=False",
            "train --cfg yolov5n.yaml --data a.yaml --set optim.lr=0.005 --exist-ok",
        ),
        ("detect train data=a.yaml", "train --data a.yaml"),
        ("task=detect mode=val model=b.pt data=a.yaml", "val b.pt --data a.yaml"),
        ("val model=runs/a data=a.yaml split=test", "val runs/a --data a.yaml --split test"),
        ("predict model=b.pt source=photos conf=0.25", "predict b.pt photos --conf-thres 0.25"),
        ("predict source='a b' model=b.pt", "predict b.pt 'a b'"),
        ("export model=b.pt format=onnx nms=True", "export b.pt --to onnx --nms"),
    ],
)
def test_the_same_command_with_dashes_is_told(given: str, here: str) -> None:
    with pytest.raises(ConfigError, match="Options have dashes here") as caught:
        refuse_assignments(shlex.split(given))
    assert caught.value.fix == f"Use  tutelage {here}"


@pytest.mark.parametrize(
    "given",
    [
        "train --set optim.lr=0.1",
        "train --set seed=3",  # refused by name later: settings have sections
        "train --method fgd:alpha=0.1",
        "compare --method fgd:weight=2 --name a=b",
        "predict run a=b.jpg",  # a picture
        "explain names=x",
        "",
    ],
)
def test_other_words_with_an_equals_sign_pass(given: str) -> None:
    refuse_assignments(given.split())


def test_a_file_of_that_name_is_a_file(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "name=3.jpg").touch()
    refuse_assignments(["predict", "run", "name=3.jpg"])


def test_settings_are_those_of_the_schema() -> None:
    settings = [flag.removeprefix("--set ")[:-1] for flag in FLAGS.values() if "=" in flag]
    assert settings
    assert set(settings) <= set(leaves())


def test_the_command_refuses_them(cli) -> None:
    answer = cli("train", "data=a.yaml", "model=yolov8n.pt")
    assert answer.code == 2
    assert "Error [C22]: Options have dashes here, not 'data=a.yaml'." in answer.err
    assert "tutelage train --data a.yaml --weights yolov8n.pt" in answer.err
