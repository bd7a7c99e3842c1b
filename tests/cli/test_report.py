"""``tutelage report``, and the report at the end of a run."""

import json
from pathlib import Path

import pytest

from tests.reports.two_runs import train_two
from tests.run.small_runs import make_data, make_teacher
from tutelage.errors import DataError


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    runs = train_two(tmp_path_factory.mktemp("report"))
    return str(runs / "plain"), str(runs / "taught")


def train(cli, data, name, *more):
    words = ["--data", data, "--cfg", "yolov7-tiny@0.125", "--epochs", "1", "--batch-size", "4"]
    words += ["--img-size", "64", "--device", "cpu", "--workers", "0", "--name", name, *more]
    return cli("train", *words)


def test_two_runs_are_compared(cli, pair):
    answer = cli("report", *pair, "--to", "page.html")
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0].split()[:2] == ["AP", "ΔAP"]
    assert any(line.startswith("plain (baseline)") for line in lines)
    assert "neither taught nor the baseline finds an object" in answer.out
    assert lines[-1] == "Report: page.html"
    assert Path("page.html").read_text().lstrip().startswith("<!doctype html>")
    assert cli("compare", *pair).out.splitlines()[:-1] == lines[:-1]


def test_finished_runs_take_no_option_of_training(cli, pair):
    answer = cli("compare", *pair, "--method", "fgd", "--data", "d.yaml")
    assert (answer.code, answer.out) == (2, "")
    assert "--data, --method would train others" in answer.err
    assert "tutelage report" in answer.err


def test_json(cli, pair):
    answer = json.loads(cli("report", *pair, "--to", "page.html", "--json").out)
    assert answer["report"] == "page.html"
    assert [arm["arm"] for arm in answer["arms"]] == ["baseline", "taught"]
    assert answer["arms"][1]["difference"]["images"] == 8
    assert len(answer["verdict"]) >= 1


def test_no_run_and_no_run_folder(cli, tmp_path):
    answer = cli("report")
    assert (answer.code, answer.out) == (2, "")
    assert "C26" in answer.err
    answer = cli("report", str(tmp_path))
    assert answer.code == 2
    assert "C36" in answer.err


def test_a_page_that_cannot_be_written(cli, pair):
    answer = cli("report", *pair, "--to", "nowhere/page.html")
    assert answer.code != 0
    assert "nowhere" in answer.err
    assert "Traceback" not in answer.err


def test_a_run_ends_with_its_report(cli, data):
    answer = train(cli, data, "mine")
    assert answer.code == 0, answer.err
    assert "Report: runs/mine/report.html" in answer.out
    for name in ("report.html", "results.png", "pr.png", "confusion.png"):
        assert Path("runs/mine", name).stat().st_size > 1000


def test_a_run_without_a_report(cli, data):
    assert train(cli, data, "mine", "--set", "run.report=false").code == 0
    assert not Path("runs/mine/report.html").exists()


@pytest.mark.parametrize("error", [DataError("gone"), OSError(28, "full"), RuntimeError("a bug")])
def test_a_run_stands_without_its_report(cli, data, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("tutelage.reports.after_run.write_report", fail)
    answer = train(cli, data, "mine", "--json")
    assert answer.code == 0, answer.err
    events = [json.loads(line) for line in answer.out.splitlines()]
    assert events[-1]["event"] == "finished"
    [told] = [each for each in events if each.get("code") == "R39"]
    assert "No report was written" in told["text"]
    assert Path("runs/mine/best.safetensors").exists()


def test_a_teacher_shows_in_the_report_of_its_run(cli, data, tmp_path):
    teacher = make_teacher(tmp_path / "teacher.safetensors")
    more = ("--teacher-weights", teacher, "--method", "fgd:weight=1")
    answer = train(cli, data, "taught", *more, "--set", "distill.accept_teacher=true")
    assert answer.code == 0, answer.err
    page = Path("runs/taught/report.html").read_text()
    assert "What was transferred" in page
    assert "foreground mask" in page
