"""The other functions: check, doctor, evaluate, compare, load_teacher."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from typer.main import get_command

import tutelage
from tests.run.small_runs import make_data, make_teacher
from tutelage.cli.app import app
from tutelage.errors import ConfigError

SMALL = {"batch_size": 4, "img_size": 64, "device": "cpu"}
# what a function does not take: how a command prints, and what belongs to processes
PRINTING = {"json", "quiet", "debug", "help", "devices", "context"}
OTHER = {
    "train": PRINTING,
    "compare": PRINTING | {"dry_run", "runs"},
    "doctor": PRINTING | {"teacher"},
    "check": PRINTING | {"fix", "html"},
    "val": PRINTING | {"weights", "save_json"},
}
NAMES = {"val": "evaluate"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("api")
    return make_data(root), make_teacher(root / "teacher.safetensors"), root


@pytest.mark.parametrize("command", OTHER)
def test_the_arguments_have_the_names_of_the_flags(command) -> None:
    options = {parameter.name for parameter in get_command(app).commands[command].params}
    function = getattr(tutelage, NAMES.get(command, command))
    arguments = set(inspect.signature(function).parameters) - {"show"}
    arguments -= {"teacher_weights"} if command == "doctor" else set()
    assert arguments == options - OTHER[command]


@pytest.mark.parametrize("name", sorted({NAMES.get(name, name) for name in OTHER}))
def test_every_argument_is_documented(name) -> None:
    function = getattr(tutelage, name)
    text = inspect.getdoc(function) or ""
    section = text.partition("Args:\n")[2].partition("\n\n")[0]
    documented = set(re.findall(r"^    (\w+):", section, re.M))
    assert documented == set(inspect.signature(function).parameters)


def test_check(world) -> None:
    report = tutelage.check(world[0], split="val", img_size=64)
    assert [opened.index.split for opened in report.splits] == ["val"]
    assert report.errors == 0


def test_doctor(world, capsys) -> None:
    found = tutelage.doctor(
        "yolov7-tiny@0.125",
        world[0],
        teacher_weights=world[1],
        method="fgd",
        set={"train.workers": 0},
        **SMALL,
    )
    assert [method.name for method in found.methods] == ["fgd"]
    assert len(found.levels) == 3
    assert found.cost is not None
    assert found.ok == (not found.errors)
    assert capsys.readouterr().out == ""


def test_doctor_needs_a_teacher(world) -> None:
    with pytest.raises(ConfigError, match="No teacher"):
        tutelage.doctor("yolov7-tiny@0.125", world[0], **SMALL)


def test_evaluate_needs_data() -> None:
    with pytest.raises(ConfigError, match="No data set"):
        tutelage.evaluate(tutelage.load("yolov7-tiny@0.125", names=["a"]))


@pytest.mark.slow
def test_compare(world, capfd) -> None:
    data, teacher, root = world

    def call():
        return tutelage.compare(
            data,
            cfg="yolov7-tiny@0.125",
            epochs=1,
            teacher_weights=teacher,
            method=["fgd:weight=1"],
            seeds=1,
            workers=0,
            project=root / "runs",
            name="mine",
            set={"distill.accept_teacher": True},
            **SMALL,
        )

    found = call()
    assert capfd.readouterr().out == ""
    assert found.folder == root / "runs" / "mine"
    assert [row.arm for row in found.arms] == ["baseline", "fgd-weight1"]
    assert set(found.runs) == {"baseline-s0", "fgd-weight1-s0"}
    assert found.runs["fgd-weight1-s0"].metrics["epoch"] == [1]
    assert found.verdict == (found.arms[1].sentence,)
    assert Path(found, "report.html").exists()
    assert "baseline</td>" in found._repr_html_()
    weights = found.runs["baseline-s0"].best.stat().st_mtime_ns
    again = call()
    assert again.arms == found.arms
    assert again.runs["baseline-s0"].best.stat().st_mtime_ns == weights


def test_compare_shows_what_the_settings_have_to_say(world, monkeypatch, capsys) -> None:
    def stopped(*_, **__):
        raise ConfigError("stopped here")
        yield

    monkeypatch.setattr("tutelage.api.compare.run_comparison", stopped)
    with pytest.raises(ConfigError, match="stopped here"):
        tutelage.compare(world[0], teacher_weights=world[1], optimizer="adam", show=True)
    assert "adam keeps the learning rate" in capsys.readouterr().out


def test_compare_needs_a_teacher(world) -> None:
    with pytest.raises(ConfigError, match="nothing to compare"):
        tutelage.compare(world[0], seeds=1)
