from __future__ import annotations

import json
from typing import Any

import pytest

from tutelage import __version__
from tutelage.comparison.run import ComparisonFinished, ComparisonPlanned, RunFailed, RunStarted
from tutelage.comparison.table import ArmRow
from tutelage.evaluation import Difference

BASE = ("--data", "d.yaml", "--teacher-weights", "t.pt")


@pytest.fixture
def played(monkeypatch, script) -> dict[str, Any]:
    """Stands for the engine: remembers its call, plays a comparison of two runs."""
    call: dict[str, Any] = {"failed": {}}

    def run_comparison(comparison, **options):
        call.update(comparison=comparison, **options)
        first, *more = comparison.runs()
        yield ComparisonPlanned(((first, "finished"), *((run, "new") for run in more)), "runs/c")
        if options["dry_run"]:
            return
        yield RunStarted(2, 2, "fgd", 0, "runs/c/fgd-s0", "new")
        yield from call.get("script", script)
        if call["failed"]:
            yield RunFailed("fgd", 0, "runs/c/fgd-s0", "fgd became inf.")
        difference = Difference(0.1, 0.05, 0.15, 0.01, images=9)
        row = ArmRow("fgd", "fgd", seeds=(0,), AP=0.3, paired=(0,), deltas=(0.1,))
        row = row._replace(difference=difference, verdict="helped", sentence="fgd raised AP.")
        rows = (ArmRow("baseline", seeds=(0,), AP=0.2), row)
        yield ComparisonFinished(
            "runs/c", "test", {"teacher": 0.5}, rows, ("A note.",), call["failed"]
        )

    monkeypatch.setattr("tutelage.comparison.run.run_comparison", run_comparison)
    return call


def test_flags_reach_the_plan(cli, played) -> None:
    answer = cli(
        "compare", *BASE, "--cfg", "yolov5n", "--method", "fgd", "--method", "pkd+cwd:weight=5",
        "--ratio", "0.5", "--epochs-share", "0.5", "--seed-list", "3,4", "--epochs", "8",
        "--img", "320", "320", "--adam", "--student-kd-layers", "17,20", "--set", "optim.lr=0.1",
        "--teacher-kd-layers", "57,65", "--project", "p", "--name", "n", "--time",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    comparison = played["comparison"]
    short = ("fgd-r0.5-e0.5", "pkd+cwd-weight5-r0.5-e0.5")
    arms = {arm.name: arm.config for arm in comparison.arms}
    assert list(arms) == ["baseline", "fgd-r0.5", short[0], "pkd+cwd-weight5-r0.5", short[1]]
    assert str(comparison.folder) == "p/n"
    assert comparison.seeds == (3, 4)
    for config in arms.values():
        assert (config.optim.name, config.optim.lr, config.train.image_size) == ("adam", 0.1, 320)
    assert [arms[name].train.epochs for name in short] == [4, 4]
    assert arms["fgd-r0.5"].distill.student_kd_layers == ("17", "20")
    assert played["origins"]["optim.lr"] == "--set"
    assert played["command_line"].startswith("tutelage")
    assert played["time"] is True


def test_digits_need_flags_alone_and_run_files_work(cli, played, tmp_path) -> None:
    assert cli("compare", "--data", "digits", "--teacher-weights", "t.pt").code == 0
    assert str(played["comparison"].folder) == "runs/compare-digits-yolov7-tiny"
    (tmp_path / "run.yaml").write_text("data: d.yaml\ndistill:\n  methods: [pkd]\n")
    assert cli("compare", "--config", "run.yaml", "--teacher-weights", "t.pt").code == 0
    assert [arm.name for arm in played["comparison"].arms] == ["baseline", "pkd"]


def test_the_screen(cli, played) -> None:
    answer = cli("compare", *BASE, "--seeds", "1")
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[:2] == [f"tutelage {__version__}", "loading PyTorch …"]
    assert lines[2] == "runs/c: 2 arms × 1 seed, 1 finished, 1 to train"
    assert "— run 2 of 2: fgd, seed 0" in lines
    assert sum(line.startswith("epoch 2/2") for line in lines) == 1
    head, teacher, base, taught = lines[-9:-5]
    assert head.split()[:2] == ["AP", "ΔAP"]
    assert teacher.split() == ["teacher", ".500"]
    assert base.split() == ["baseline", ".200", "1.00", "1.00", "1"]
    assert taught.split() == ["fgd", ".300", "+10.0", "+5.0…+15.0", "1", "helped"]
    assert lines[-5:] == ["", "fgd raised AP.", "", "A note.", "Results: runs/c"]
    assert cli("compare", *BASE, "--quiet").out == ""


def test_a_dry_run_lists_the_runs(cli, played) -> None:
    answer = cli("compare", *BASE, "--seeds", "1", "--ratio", "2", "--dry-run")
    assert answer.out.splitlines()[2:] == [
        "runs/c: 2 arms × 1 seed, 1 finished, 1 to train",
        "folder       methods  ratio  epochs  seed  state",
        "baseline-s0  none               100     0  finished",
        "auto-r2-s0   auto         2     100     0  to train",
    ]


def test_json(cli, played) -> None:
    rows = [json.loads(line) for line in cli("compare", *BASE, "--json").out.splitlines()]
    assert rows[0] == {"event": "stage", "text": "loading PyTorch"}
    assert rows[1]["event"] == "plan_of_runs"
    assert rows[1]["runs"][0]["state"] == "finished"
    assert rows[2] == {
        "event": "run",
        "number": 2,
        "total": 2,
        "arm": "fgd",
        "seed": 0,
        "folder": "runs/c/fgd-s0",
        "state": "new",
    }
    assert rows[-1]["event"] == "compared"
    assert rows[-1]["rows"][1]["difference"]["low"] == 0.05
    assert rows[-1]["rows"][1]["AP_sd"] is None


def test_failed_runs_make_the_command_fail(cli, played) -> None:
    played["failed"] = {"fgd-s0": "fgd became inf."}
    answer = cli("compare", *BASE, "--seeds", "1")
    assert answer.code == 1
    assert "failed: fgd became inf." in answer.out
    assert "fgd raised AP." in answer.out  # the others are told all the same
    assert "1 of 2 runs failed: fgd-s0 (runs/compare-d-yolov7-tiny)" in answer.err
    assert "The same command tries them again." in answer.err


def test_ctrl_c_says_how_to_go_on(cli, played, script) -> None:
    def stopped():
        yield from script[:3]
        raise KeyboardInterrupt

    played["script"] = stopped()
    answer = cli("compare", *BASE)
    assert answer.code == 130
    assert "The same command continues where it was." in answer.err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--data", "d.yaml", "--seeds", "0"], "No teacher is given: there is nothing to compare"),
        ([*BASE, "--method", "fgdd"], "there is no method 'fgdd'"),
        ([*BASE, "--method", "baseline"], "The baseline is always trained"),
        ([*BASE, "--method", "fgd", "--method", "fgd"], "The arm fgd is given twice"),
        ([*BASE, "--seed", "3"], "--seeds or name them: --seed-list"),
        ([*BASE, "--resume"], "the same command again continues a comparison"),
        ([*BASE, "--epochs", "x"], "train.epochs: 'x' cannot be used"),
    ],
)
def test_bad_input_is_told_before_anything_is_trained(cli, played, argv, message) -> None:
    answer = cli("compare", *argv)
    assert (answer.code, message in answer.err) == (2, True), answer.err
    assert "comparison" not in played
