from __future__ import annotations

import json
import os
import signal

import pytest

from tutelage.api.settings import SETTINGS
from tutelage.config import load_config
from tutelage.config.describe import leaves
from tutelage.config.dump import dump
from tutelage.errors import TrainingError
from tutelage.run.events import Notice, Planned


def test_each_option_leads_to_a_setting() -> None:
    assert set(SETTINGS.values()) <= set(leaves())


def test_flags_reach_the_engine_with_their_origin(cli, engine) -> None:
    answer = cli(
        "train", "--data", "d.yaml", "--cfg", "yolov7-tiny", "--weights", "w.pt",
        "--teacher-weights", "t.pt",
        "--method", "cwd:weight=5", "--method", "fgd", "--student-kd-layers", "57,65,73",
        "--teacher-kd-layers", "75, 88, 101",
        "--epochs", "3", "--batch", "8", "--img", "320", "320", "--device", "0", "--workers", "2",
        "--seed", "7",
        "--precision", "bf16", "--optimizer", "AdamW", "--freeze", "0", "1", "--patience", "9",
        "--multi-scale", "--rect",
        "--single-cls", "--cache-images", "--project", "p", "--name", "n", "--exist-ok",
        "--label-smoothing", "0.1", "--ratio", "0.5",
        "--linear-lr", "--set", "optim.lr=1e-3", "--set", "distill.methods.0.temperature=2",
        "--nosave",
    )  # fmt: skip
    assert (answer.code, answer.err) == (0, "")
    config, origins = engine.config, engine.call["origins"]
    assert (config.data, config.model.arch, config.model.weights) == (
        "d.yaml",
        "yolov7-tiny",
        "w.pt",
    )
    assert config.distill.teacher == "t.pt"
    assert [(m.name, m.weight) for m in config.distill.methods] == [("cwd", 5), ("fgd", "auto")]
    assert config.distill.methods[0].options == {"temperature": 2}
    assert (config.distill.ratio, origins["distill.ratio"]) == (0.5, "flag --ratio")
    assert config.distill.student_kd_layers == ("57", "65", "73")
    assert config.distill.teacher_kd_layers == ("75", "88", "101")
    train = config.train
    assert (train.epochs, train.batch, train.image_size, train.device) == (3, 8, 320, "cuda:0")
    assert (train.workers, train.seed, train.precision, train.freeze, train.patience) == (
        2,
        7,
        "bf16",
        (0, 1),
        9,
    )
    assert train.multi_scale
    assert train.rect
    assert train.single_cls
    assert train.cache_images == "ram"
    assert (config.optim.name, config.optim.schedule, config.optim.lr) == ("adamw", "linear", 1e-3)
    assert config.loss.label_smoothing == 0.1
    assert (config.run.project, config.run.name, config.run.exist_ok) == ("p", "n", True)
    assert config.preset == "v7-custom"
    assert origins["train.batch"] == "flag --batch-size"
    assert origins["optim.schedule"] == "flag --linear-lr"
    assert origins["optim.lr"] == "--set"
    assert engine.call["resume"] is None
    assert engine.call["dry_run"] is False
    assert len(engine.call["notices"]) == 1
    assert "--nosave" in engine.call["notices"][0]
    assert engine.call["command_line"].startswith("tutelage")


def test_nothing_given_is_the_default(cli, engine) -> None:
    assert cli("train", "--data", "d.yaml").code == 0
    assert engine.config == load_config(flags={"data": ("d.yaml", "")}).config
    assert [key for key, origin in engine.call["origins"].items() if origin.startswith("flag")] == [
        "data"
    ]


def test_files_and_their_notices(cli, engine, tmp_path) -> None:
    (tmp_path / "run.yaml").write_text("data: d.yaml\ntrain: {epochs: 30}\n")
    (tmp_path / "hyp.yaml").write_text("lr0: 0.02\npaste_in: 0.1\n")
    assert (
        cli(
            "train",
            "--config",
            "run.yaml",
            "--hyp",
            "hyp.yaml",
            "--epochs",
            "4",
            "--preset",
            "v7-p5",
        ).code
        == 0
    )
    assert (engine.config.train.epochs, engine.config.optim.lr, engine.config.preset) == (
        4,
        0.02,
        "v7-p5",
    )
    assert engine.call["origins"]["optim.lr"] == "hyp.yaml:1, lr0"
    assert "paste_in" in engine.call["notices"][0]


def test_all_faults_of_a_command_line_at_once(cli, engine) -> None:
    answer = cli("train", "--epochs", "ten", "--set", "optim.lrr=1", "--precision", "fp8")
    assert answer.code == 2
    assert engine.config is None
    assert "3 settings cannot be used:" in answer.err
    assert (
        "train.epochs: 'ten' cannot be used (flag --epochs). Expected a whole number of at least 1."
        in answer.err
    )
    assert "Did you mean 'lr'?" in answer.err
    assert "(flag --precision). Expected auto | fp32 | fp16 | bf16." in answer.err


def test_the_screen(cli, engine, script) -> None:
    engine.script = script
    answer = cli("train", "--data", "d.yaml")
    assert answer.code == 0
    assert "epoch 2/2" in answer.out
    assert "tutelage val runs/d-01" in answer.out
    engine.script = script
    assert cli("train", "--data", "d.yaml", "--quiet").out == ""
    lines = cli("train", "--data", "d.yaml", "--json").out.splitlines()
    assert json.loads(lines[-1])["event"] == "finished"


def test_dry_run(cli, engine, script) -> None:
    engine.script = script[:2]
    answer = cli("train", "--data", "d.yaml", "--dry-run")
    assert engine.call["dry_run"] is True
    assert "Dry run: everything was built and one step was run; see runs/d-01." in answer.out


def run_folder(tmp_path, name: str = "a", *, last: bool = True):
    folder = tmp_path / "runs" / name
    folder.mkdir(parents=True)
    resolved = load_config(
        flags={
            "data": ("d.yaml", ""),
            "train.epochs": (9, "flag --epochs"),
            "run.project": ("runs", ""),
        }
    )
    (folder / "config.yaml").write_text(dump(resolved.config, resolved.origins))
    if last:
        (folder / "last.pt").touch()
    return folder, resolved.config


def test_resume_takes_the_stored_settings(cli, engine, tmp_path) -> None:
    _, config = run_folder(tmp_path)
    for given in ("runs/a", "runs/a/last.pt"):
        assert cli("train", "--resume", given).code == 0
        assert engine.call["resume"] == "runs/a"
        assert engine.config == config
    assert cli("train", "--resume", "runs/a", "--device", "cpu", "--workers", "0").code == 0
    assert (engine.config.train.device, engine.config.train.workers) == ("cpu", 0)
    assert cli("train", "--resume", "runs/a", "--epochs", "9").code == 0  # no contradiction


def test_resume_without_a_name_takes_the_newest_run(cli, engine, tmp_path) -> None:
    assert "There is no run to resume in runs" in cli("train", "--resume").err
    for age, name in ((30, "old"), (10, "new"), (20, "older")):
        folder, _ = run_folder(tmp_path, name)
        os.utime(folder / "last.pt", (1e9 - age, 1e9 - age))
    run_folder(tmp_path, "unsaved", last=False)
    assert cli("train", "--resume").code == 0
    assert engine.call["resume"] == "runs/new"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["--batch-size", "32", "--set", "optim.lr=1"],
            "train.batch 32 contradicts its 16\n  --set: optim.lr 1.0 contradicts its 0.01",
        ),
        (
            ["--epochs", "50"],
            "Start a new run from its weights instead: --weights runs/a/best.safetensors",
        ),
        (["--config", "run.yaml"], "--config would replace them"),
    ],
)
def test_resume_refuses_other_settings(cli, engine, tmp_path, argv, message) -> None:
    run_folder(tmp_path)
    (tmp_path / "runs/a/best.safetensors").touch()
    answer = cli("train", "--resume", "runs/a", *argv)
    assert answer.code == 2
    assert message in answer.err
    assert engine.config is None


def test_resume_of_what_is_no_run(cli, engine, tmp_path) -> None:
    run_folder(tmp_path, "baseline", last=False)
    answer = cli("train", "--resume", "runs/basline")
    assert (answer.code, "Did you mean 'baseline'?" in answer.err) == (2, True)
    assert (
        "it has no last.pt (it was stopped before its first save)"
        in cli("train", "--resume", "runs/baseline").err
    )
    (tmp_path / "data").mkdir()
    assert "it is not a run folder" in cli("train", "--resume", "data").err


def test_ctrl_c_says_how_to_go_on(cli, engine, script, tmp_path) -> None:
    engine.script = [*script[:6], KeyboardInterrupt()]
    answer = cli("train", "--data", "d.yaml")
    assert answer.code == 130
    assert "Stopped by Ctrl-C after epoch 2 step 1." in answer.err
    assert "Nothing was saved yet." in answer.err
    assert "Error" not in answer.err
    (tmp_path / "runs" / "d-01").mkdir(parents=True)
    (tmp_path / "runs" / "d-01" / "last.pt").touch()
    assert (
        "Continue from the last save:  tutelage train --resume runs/d-01"
        in cli("train", "--data", "d.yaml").err
    )
    engine.script = [KeyboardInterrupt()]
    assert "before the first step" in cli("train", "--data", "d.yaml").err


def test_sigterm_stops_like_ctrl_c(cli, monkeypatch, script) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def engine_call(config, **call):
        yield script[0]
        signal.raise_signal(signal.SIGTERM)  # to this thread: other libraries have threads, too
        yield script[1]

    monkeypatch.setattr("tutelage.api.train.run_training", engine_call)
    assert cli("train", "--data", "d.yaml").code == 130
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_user_error_of_the_engine(cli, engine, script) -> None:
    engine.script = [script[0], TrainingError("fgd/relation became inf.", fix="Lower it.")]
    answer = cli("train", "--data", "d.yaml")
    assert (answer.code, answer.err) == (1, "Error [R00]: fgd/relation became inf.\n  Lower it.\n")


def test_a_fault_of_the_engine_goes_to_the_run_folder(cli, engine, tmp_path) -> None:
    (tmp_path / "r").mkdir()
    engine.script = [Notice("info", "x"), Planned((), "r", 1, 1), ValueError("boom")]
    answer = cli("train", "--data", "d.yaml")
    assert answer.code == 1
    assert "Traceback" not in answer.err
    assert "r/crash.txt" in answer.err
    assert "boom" in (tmp_path / "r" / "crash.txt").read_text()
