from __future__ import annotations

import json
from typing import Any

import pytest

from tutelage.comparison.run import RunStarted
from tutelage.demo import DemoResult, DemoRow
from tutelage.evaluation import Difference


def result() -> DemoResult:
    def row(title: str, value: float) -> DemoRow:
        return DemoRow(title, f"runs/{title}", value, 2 * value, 391_000, 0.0213, 4.25)

    rows = (row("teacher", 0.4), row("baseline", 0.2), row("distilled", 0.25))
    difference = Difference(0.05, 0.04, 0.06, 0.01, images=300)
    start = "Both students started from scratch."
    return DemoResult(
        rows, difference, "Distillation raised AP by 5.0.", 0.25, start, 60.0, "runs/demo"
    )


@pytest.fixture
def played(monkeypatch, script) -> dict[str, Any]:
    call: dict[str, Any] = {}

    def run_demo(**options):
        call.update(options)
        yield RunStarted(1, 2, "baseline", 3, "runs/demo/baseline-s3", "new")
        yield from script
        yield RunStarted(2, 2, "auto", 3, "runs/demo/auto-s3", "new")
        yield from script
        yield result()

    monkeypatch.setattr("tutelage.demo.run_demo", run_demo)
    return call


def test_the_demo_shows_its_runs_and_the_result(cli, played) -> None:
    answer = cli("demo", "--epochs", "2", "--folder", "out", "--seed", "3")
    assert answer.code == 0, answer.err
    assert played == {"project": "out", "epochs": 2, "seed": 3, "train_teacher": False}
    lines = answer.out.splitlines()
    headers = [line for line in lines if line.startswith("—")]
    assert headers == ["— run 1 of 2: baseline, seed 3", "— run 2 of 2: auto, seed 3"]
    assert sum(line.startswith("epoch 2/2") for line in lines) == 2
    assert lines[-8:] == [
        "             AP  AP50  parameters  GFLOPs  ms/image",
        "teacher    .400  .800      0.39 M    0.02       4.2",
        "baseline   .200  .400      0.39 M    0.02       4.2",
        "distilled  .250  .500      0.39 M    0.02       4.2",
        "",
        "Distillation raised AP by 5.0.",
        "Share of the gap to the teacher that distillation closed: 25 %",
        "Both students started from scratch.",
    ]


def test_json_and_quiet(cli, played) -> None:
    rows = [json.loads(line) for line in cli("demo", "--json").out.splitlines()]
    assert rows[0] == {"event": "stage", "text": "loading PyTorch"}
    assert (rows[1]["event"], rows[1]["arm"]) == ("run", "baseline")
    assert rows[-1]["event"] == "outcome"
    assert [arm["AP"] for arm in rows[-1]["arms"]] == [0.4, 0.2, 0.25]
    assert rows[-1]["difference"]["low"] == 0.04
    assert cli("demo", "--quiet").out == ""


def test_the_default_budget_is_the_demos(cli, played) -> None:
    from tutelage.demo import EPOCHS

    cli("demo", "--train-teacher")
    assert (played["epochs"], played["train_teacher"], played["project"]) == (EPOCHS, True, "runs")
