"""The messages of the design, provoked through the real command line: text, code, exit status."""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from tests.data.write_dataset import NAMES
from tests.run.small_runs import make_data, make_teacher
from tutelage.data.dataset import DetectionDataset
from tutelage.training.task import Task

SMALL = ("--cfg", "yolov7-tiny@0.125", "--img", "64", "--batch", "4", "--epochs", "1",
         "--device", "cpu", "--workers", "0", "--set", "train.threads=1",
         "--set", "train.nominal_batch=4", "--set", "model.autoanchor=false")  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return Path(make_data(tmp_path / "set"))


@pytest.fixture
def teacher(tmp_path: Path) -> tuple[str, ...]:
    file = make_teacher(tmp_path / "teacher.safetensors", arch="yolov7-tiny@0.25")
    return ("--teacher-weights", file, "--set", "distill.accept_teacher=true")


@pytest.fixture
def train(cli, data):
    return lambda *more: cli("train", "--data", str(data), *SMALL, *more)


def check(answer, code: str, status: int, *texts: str) -> None:
    """Look at a message: its code, the exit status, what it says; no traceback."""
    assert f"[{code}]" in answer.err
    assert answer.code == status
    said = re.sub(r"\s+", " ", answer.err)
    for text in texts:
        assert text in said, said
    assert "Traceback" not in answer.out + answer.err


def labels(data: Path) -> list[Path]:
    found = sorted((data.parent / "labels").rglob("*.txt"))
    assert found
    return found


def test_01_bad_data_yaml(cli, train, data) -> None:
    whole = yaml.safe_load(data.read_text())
    data.write_text(yaml.safe_dump({key: whole[key] for key in ("train", "val")}))
    check(train(), "D01", 3, f"{data.name} has no 'names' (found:", "Add for example names: [")
    data.write_text(yaml.safe_dump(whole | {"train": "images/trian"}))
    check(train(), "D01", 3, "images/trian does not exist")


def test_02_labels_missing(train, data) -> None:
    for file in labels(data):
        file.unlink()
    check(train(), "D02", 3, "0 of 8 ", "images have a label file. Expected e.g.")


def test_02_some_labels_missing_is_a_warning(train, data) -> None:
    labels(data)[0].unlink()
    answer = train("--dry-run")
    assert answer.code == 0
    assert "warning [D02]: 1 of 8 training images have no label file" in answer.out


def test_03_labels_in_pixels(train, data) -> None:
    labels(data)[0].write_text("0 312 205 96 88\n")
    check(train(), "D03", 3, '"0 312 205 96 88"', "pixels")


def test_04_class_out_of_range(train, data) -> None:
    labels(data)[0].write_text("9 .5 .5 .2 .2\n")
    check(train(), "D04", 3, "Label class 9 in", f"names {len(NAMES)} classes (0…")


def test_05_unknown_setting(train, teacher) -> None:
    answer = train(*teacher, "--method", "fgd:temprature=1")
    check(answer, "C05", 2, "FGD has no option 'temprature'", "Did you mean 'temperature'?")
    both = train("--set", "train.epoch=1", "--set", "optim.lrate=1")
    check(both, "C05", 2, "2 settings cannot be used", "no setting 'epoch'", "no setting 'lrate'")


def test_06_layers_that_do_not_exist(train, teacher) -> None:
    answer = train(*teacher, "--student-kd-layers", "199")
    check(
        answer, "T06", 2, "student_kd_layers: yolov7-tiny@0.125 has layers 0…", "not 199", "List:"
    )


def test_07_unequal_numbers(train, teacher) -> None:
    some = ("--student-kd-layers", "57,65,73", "--teacher-kd-layers", "57,65")
    answer = train(*teacher, *some)
    check(answer, "T07", 2, "3 student layers but 2 teacher layers; they are paired in order",
          "Missing a partner: 73 (p5, stride 32)")  # fmt: skip


def test_08_strides_that_differ(train, teacher) -> None:
    answer = train(*teacher, "--student-kd-layers", "75", "--teacher-kd-layers", "74")
    check(answer, "T08", 2, "Pair 1 does not align: student 75 has stride 16, teacher 74 has",
          "Or allow resampling: --set distill.resize=true")  # fmt: skip


def test_09_classes_that_differ(train, tmp_path) -> None:
    other = make_teacher(tmp_path / "other.safetensors", ("x", "y", "z"))
    answer = train("--teacher-weights", other, "--method", "logits")
    check(answer, "T09", 2, "'logits' compares class scores, but the teacher knows 3 classes",
          "in common by name: none", "distill.classes=")  # fmt: skip


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"<!DOCTYPE html><html>sorry</html>", "is not a checkpoint: it is an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
        (b"PK\x03\x04" + bytes(500), "is truncated (zip directory missing"),
        (b"", "is empty"),
        (None, "does not exist"),
    ],
)
def test_10_weights_missing_or_corrupt(train, tmp_path, content, told) -> None:
    file = tmp_path / "yolov7.pt"
    if content is not None:
        file.write_bytes(content)
    check(train("--weights", str(file)), "W10", 4, told)


class Harmful:
    def __reduce__(self):
        import os

        return os.system, ("touch harmed",)


def test_11_malicious_pickle(train, tmp_path) -> None:
    torch.save({"model": Harmful()}, tmp_path / "bad.pt", pickle_module=pickle)
    answer = train("--weights", str(tmp_path / "bad.pt"))
    check(answer, "W11", 4, "Refused to read", "would call posix.system. Nothing was executed.")
    assert not (tmp_path / "harmed").exists()


def test_12_weights_of_another_architecture(train, teacher) -> None:
    answer = train("--weights", teacher[1])
    check(answer, "W12", 4, "does not fit yolov7-tiny@0.125:", "tensors match", "--cfg")


def test_13_out_of_memory(train, monkeypatch) -> None:
    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(Task, "forward", full)
    check(train(), "R13", 1, "ran out of memory at step 1 with batch 4", "--batch-size 2",
          "The run folder is intact.")  # fmt: skip


def test_14_loss_becomes_nan(train, monkeypatch) -> None:
    forward = Task.forward

    def odd(self, *args, **kwargs):
        losses = forward(self, *args, **kwargs)
        return losses._replace(
            detection=losses.detection | {"box": losses.detection["box"] * float("inf")}
        )

    monkeypatch.setattr(Task, "forward", odd)
    check(train(), "R14", 1, "box became", "at epoch 1 step 1 (all others finite: obj",
          "Its images", "images/train/00", "Usual cures: --set optim.lr")  # fmt: skip


def test_15_interrupted(train, monkeypatch, tmp_path) -> None:
    forward = Task.forward

    def stopped(self, *args, **kwargs):
        if self.training and len(args[0].batch.images) == 4:
            signal.raise_signal(signal.SIGINT)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(Task, "forward", stopped)
    answer = train("--name", "a")
    check(answer, "R15", 130, "Stopped by Ctrl-C after epoch 1 step 1; saved.",
          "Continue exactly where it stopped: tutelage train --resume runs/a")  # fmt: skip
    monkeypatch.undo()


def test_16_resume_with_other_settings(cli, train) -> None:
    assert train("--name", "a").code == 0
    answer = cli("train", "--resume", "runs/a", "--batch-size", "2")
    check(answer, "R16", 2, "uses the settings of the run.", "train.batch 2 contradicts its 4",
          "--weights runs/a/best.safetensors")  # fmt: skip
    check(cli("train", "--resume", "runs/a"), "R16", 2, "is already finished (1/1 epochs)",
          "To train on: --weights runs/a/best.safetensors")  # fmt: skip


def test_17_image_size_off_the_grid(train) -> None:
    answer = train("--img", "630")
    check(
        answer, "C17", 2, "--img-size 630 must be a multiple of 32 (largest stride)", "Nearest: 640"
    )


def test_18_device_absent(train, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    answer = train("--device", "cuda:1")
    check(answer, "C18", 2, "--device cuda:1: this machine has 1 CUDA device (cuda:0).")


def test_18_no_gpu_is_a_warning(train, monkeypatch) -> None:
    text = "No GPU found; training on CPU: about 0 min per epoch at this size."
    monkeypatch.setattr("tutelage.run.monitors.pace.LONG", 0.0)
    monkeypatch.setattr("tutelage.run.monitors.pace.STEPS", 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "No GPU" not in train("--name", "cpu").out  # as asked for
    answer = train("--device", "auto", "--epochs", "2", "--name", "a")
    assert (answer.code, answer.out.count(f"warning [C18]: {text}\n")) == (0, 1)
    rows = [json.loads(row) for row in train("--device", "auto", "--json").out.splitlines()]
    assert {"event": "notice", "level": "warning", "text": text, "code": "C18"} in rows


def test_19_missing_extra(cli, teacher, monkeypatch) -> None:
    monkeypatch.setattr("tutelage.optional_packages.find_spec", lambda package: None)
    answer = cli("export", teacher[1], "--to", "openvino")
    check(answer, "E19", 5, "not installed", "pip install 'tutelage[")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_20_export_differs(cli, teacher, data, monkeypatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr("tutelage.deploy.export.LIMIT", -1.0)
    images = str(data.parent / "images")
    answer = cli("export", teacher[1], "--to", "onnx", "--images", images)
    check(answer, "E20", 5, "differs from the checkpoint: max |Δ|", ".rejected; please report it.")


def test_21_teacher_is_no_teacher(train, teacher, monkeypatch) -> None:
    scores = {"AP": 0.29, "AP50": 0.5, "AP75": 0.2}
    monkeypatch.setattr(
        "tutelage.run.preflight.before_training.evaluate_teacher", lambda *args: scores
    )
    monkeypatch.setattr(
        "tutelage.run.preflight.before_training.evaluate_on_val",
        lambda *args: SimpleNamespace(AP=0.33),
    )
    answer = train(*teacher, "--cfg", "yolov7-tiny@0.25", "--weights", teacher[1], "--dry-run",
                   "--method", "cwd:weight=1")  # fmt: skip
    assert answer.code == 0, answer.err
    assert "warning [T21]: The teacher" in answer.out
    assert "scores AP 0.290 on your val split, the student starts at 0.330." in answer.out


# --- loader processes ---------------------------------------------------------------------------


@pytest.mark.timeout(120)
def test_a_loader_process_that_the_system_kills(train, monkeypatch) -> None:
    main, read = os.getpid(), DetectionDataset.__getitem__

    def killed(self, position):
        if os.getpid() == main:  # which reads a few images itself
            return read(self, position)
        return os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(DetectionDataset, "__getitem__", killed)
    answer = train("--workers", "1")
    check(answer, "R34", 1, "A loader process was ended by the system", "Try fewer --workers")


def test_shared_memory_that_is_full(train, monkeypatch) -> None:
    def full(self, position):
        raise RuntimeError("unable to write to file </torch_7_1_0>: No space left on device (28)")

    monkeypatch.setattr(DetectionDataset, "__getitem__", full)
    answer = train("--workers", "1")
    check(answer, "R34", 1, "Shared memory (/dev/shm), through which", "--shm-size=8g")
