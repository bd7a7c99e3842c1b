"""``--track``: real runs with a tracker on this machine."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.run.small_runs import make_data, make_teacher
from tests.trackers.test_tensorboard import curve, read
from tutelage.run.interrupt import RunInterrupted

needs_tensorboard = pytest.mark.skipif(
    find_spec("tensorboard") is None, reason="needs pip install 'tutelage[tensorboard]'"
)


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path)


def words(data, *more):
    small = ["--data", data, "--cfg", "yolov7-tiny@0.125", "--batch-size", "4", "--img-size", "64"]
    return [*small, "--device", "cpu", "--workers", "0", "--set", "train.threads=1", *more]


@needs_tensorboard
def test_a_distilled_run_and_what_json_says_of_it(cli, data, tmp_path):
    teacher = make_teacher(tmp_path / "teacher.safetensors")
    more = ("--teacher-weights", teacher, "--method", "fgd", "--epochs", "2", "--name", "mine")
    more += ("--set", "distill.accept_teacher=true", "--track", "tensorboard")
    answer = cli("train", *words(data, *more), "--json")
    assert (answer.code, answer.err) == (0, "")
    rows = [json.loads(line) for line in answer.out.splitlines()]
    epochs = [row for row in rows if row["event"] == "epoch"]
    found = read(Path("runs/mine"))
    for name in ("kd_weight", "kd_ratio", "kd_factor"):
        told = [(row["epoch"], round(row[f"{name}s"]["fgd"], 4)) for row in epochs]
        assert curve(found, f"{name}/fgd") == told
    for loss, value in epochs[-1]["losses"].items():
        name = f"kd/{loss}" if "/" in loss else f"loss/{loss}"
        assert curve(found, name)[-1][1] == pytest.approx(value, abs=1e-4)
    assert {"teacher/share", "val/AP", "lr", "total/teacher_share"} <= {*found.Tags()["scalars"]}
    assert {"samples/train_batch0", "samples/val_found"} <= {*found.Tags()["images"]}
    assert "report/text_summary" in found.Tags()["tensors"]
    assert rows[-1]["event"] == "finished"


@needs_tensorboard
def test_a_run_goes_on_with_its_tracker_and_may_get_another(cli, data, monkeypatch):
    from tutelage.run import training

    end = training.TrainingRun._end_epoch

    def stop(self, epoch, metrics):
        yield from end(self, epoch, metrics)
        raise RunInterrupted(training.Position(epoch + 1, 0))

    monkeypatch.setattr(training.TrainingRun, "_end_epoch", stop)
    more = ("--epochs", "2", "--name", "mine", "--track", "tensorboard")
    assert cli("train", *words(data, *more)).code == 130
    monkeypatch.setattr(training.TrainingRun, "_end_epoch", end)
    answer = cli("train", "--resume", "runs/mine", "--quiet")
    assert (answer.code, answer.out, answer.err) == (0, "", "")
    assert [step for step, _ in curve(read(Path("runs/mine")), "val/AP")] == [1, 2]


def test_another_tracker_is_no_contradiction(cli, data):
    assert cli("train", *words(data, "--epochs", "1", "--name", "mine")).code == 0
    answer = cli("train", "--resume", "runs/mine", "--set", "run.track=[tensorboard]")
    assert "already finished" in answer.err
    assert "contradicts" not in answer.err


def test_a_missing_package_before_anything_else(cli, engine, script, monkeypatch):
    monkeypatch.setattr("tutelage.optional_packages.find_spec", lambda name: None)
    engine.script = script
    for more in ((), ("--dry-run",)):
        answer = cli("train", "--data", "d.yaml", "--track", "wandb", *more)
        assert answer.code == 5
        assert answer.err == (
            "Error [E19]: W&B is not installed:\n  pip install 'tutelage[wandb]'\n"
        )
        assert "epoch" not in answer.out
    answer = cli("compare", "--data", "d.yaml", "--teacher-weights", "t.pt", "--track", "mlflow")
    assert (answer.code, "pip install 'tutelage[mlflow]'" in answer.err) == (5, True)


def test_a_tracker_that_does_not_exist(cli, engine):
    answer = cli("train", "--data", "d.yaml", "--track", "tensorbord")
    assert answer.code == 2
    assert "run.track: ['tensorbord'] cannot be used (flag --track)" in answer.err
    assert "Did you mean 'tensorboard'?" in answer.err
    assert "a list of tensorboard | mlflow | wandb | trackio" in answer.err


@needs_tensorboard
def test_a_dry_run_is_not_tracked(cli, data):
    answer = cli("train", *words(data, "--track", "tensorboard", "--name", "mine", "--dry-run"))
    assert answer.code == 0
    assert [*Path("runs").rglob("*tfevents*")] == []


@pytest.mark.slow
@needs_tensorboard
def test_each_run_of_a_comparison_is_tracked(cli, data, tmp_path):
    teacher = make_teacher(tmp_path / "teacher.safetensors")
    more = ("--teacher-weights", teacher, "--method", "fgd:weight=1", "--seeds", "1", "--epochs")
    more += ("1", "--set", "distill.accept_teacher=true", "--track", "tensorboard", "--name", "c")
    answer = cli("compare", *words(data, *more), "--quiet")
    assert (answer.code, answer.out) == (0, "")
    for name in ("baseline-s0", "fgd-weight1-s0"):
        found = read(Path("runs/c", name))
        assert [step for step, _ in curve(found, "loss/box")] == [1]
        assert ("kd_weight/fgd" in found.Tags()["scalars"]) == name.startswith("fgd")
        assert json.loads(Path("runs/c", name, "trackers.json").read_text())
    assert "report/text_summary" in read(Path("runs/c")).Tags()["tensors"]
