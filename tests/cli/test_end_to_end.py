"""The real engine behind the command line, on six tiny images."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch

from tutelage.config import load_config

SMALL = (
    "--cfg",
    "yolov7-tiny@0.25",
    "--img-size",
    "64",
    "--batch-size",
    "2",
    "--device",
    "cpu",
    "--workers",
    "0",
)


@pytest.fixture
def data(tmp_path) -> str:
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        (tmp_path / "d" / "images" / split).mkdir(parents=True)
        (tmp_path / "d" / "labels" / split).mkdir(parents=True)
        for number in range(4 if split == "train" else 2):
            image = rng.integers(0, 60, (64, 64, 3), dtype=np.uint8)
            cv2.rectangle(image, (16, 16), (47, 47), (255, 255, 255), -1)
            cv2.imwrite(str(tmp_path / "d" / "images" / split / f"{number}.png"), image)
            (tmp_path / "d" / "labels" / split / f"{number}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "d.yaml").write_text(
        "path: d\ntrain: images/train\nval: images/val\nnames: [square]\n"
    )
    return "d.yaml"


@pytest.fixture(autouse=True)
def one_thread(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_train_distil_val_resume(cli, data, tmp_path) -> None:
    first = cli(
        "train", "--data", data, *SMALL, "--epochs", "1", "--name", "base", "--noautoanchor"
    )
    assert first.code == 0, first.err
    assert "epoch 1/1" in first.out
    stored = load_config(config_file=tmp_path / "runs" / "base" / "config.yaml").config
    assert (stored.train.epochs, stored.preset, stored.data) == (1, "v7-tiny", data)
    assert not stored.model.autoanchor

    taught = cli(
        "train", "--data", data, *SMALL, "--epochs", "1", "--name", "kd", "--teacher-weights",
        "runs/base", "--json",
        "--student-kd-layers", "57,65", "--teacher-kd-layers", "57,65", "--method",
        "fgd:weight=0.5,alpha=0.002",
        "--set", "distill.accept_teacher=true",
    )  # fmt: skip
    assert taught.code == 0, taught.err
    rows = [json.loads(line) for line in taught.out.splitlines()]
    epoch = next(row for row in rows if row["event"] == "epoch")
    assert epoch["losses"]["fgd/foreground"] > 0

    scores = cli("val", "runs/kd", "--json", "--device", "cpu")
    assert scores.code == 0, scores.err
    assert json.loads(scores.out)["images"] == 2
    assert "square" in cli("val", "runs/kd", "--device", "cpu").out

    finished = cli("train", "--resume", "runs/kd")
    assert (finished.code, "already finished" in finished.err) == (2, True)
    again = cli("train", "--config", "runs/base/config.yaml", "--name", "again", "--dry-run")
    assert again.code == 0, again.err


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["--img-size", "63"], 2, "must be a multiple of 32"),
        (["--device", "cuda:7"], 2, "--device cuda:7: this machine has"),
        (["--data", "none.yaml"], 3, "none.yaml"),
        (["--cfg", "yolov7-tin"], 2, "Did you mean 'yolov7-tiny'?"),
        (["--weights", "none.pt"], 4, "none.pt"),
        (["--teacher-weights", "d.yaml"], 4, "d.yaml"),
        (
            ["--teacher-weights", "TEACHER", "--method", "fgd:temprature=1"],
            2,
            "Did you mean 'temperature'?",
        ),
        (["--teacher-weights", "TEACHER", "--student-kd-layers", "57,101,73"], 2, "101"),
    ],
)
def test_what_cannot_work_is_told_before_training(cli, data, argv, code, message) -> None:
    from tutelage.models import build
    from tutelage.weights.store import save_best

    if "TEACHER" in argv:
        teacher = build("yolov7-tiny@0.25", ["square"])
        meta = {
            "arch": teacher.arch,
            "arch_name": teacher.arch_name,
            "names": ["square"],
            "image_size": 64,
        }
        save_best("t.safetensors", teacher.state_dict(), meta)
        argv = ["t.safetensors" if word == "TEACHER" else word for word in argv]
    given = ["--data", data, *SMALL]
    answer = cli("train", *given, *argv, "--epochs", "1")
    assert (answer.code, message in answer.err) == (code, True), answer.err
    assert "Traceback" not in answer.err
