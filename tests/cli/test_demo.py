from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from tutelage.compare.side_by_side import Arm, Outcome, Stage


def outcome() -> Outcome:
    def arm(title: str, value: float) -> Arm:
        return Arm(
            title, f"runs/{title}", SimpleNamespace(AP=value, AP50=2 * value), 391_000, 0.0213, 4.25
        )  # type: ignore[arg-type]

    class Difference(SimpleNamespace):
        def _asdict(self) -> dict[str, Any]:
            return dict(vars(self))

    arms = (arm("teacher", 0.4), arm("baseline", 0.2), arm("distilled", 0.25))
    return Outcome(arms, Difference(delta=0.05), "Distillation raised AP by 5.0.", 0.25)  # type: ignore[arg-type]


@pytest.fixture
def played(monkeypatch, script) -> dict[str, Any]:
    call: dict[str, Any] = {}

    def run_demo(**options):
        call.update(options)
        yield Stage("baseline: yolov7-tiny@0.25")
        yield from script
        yield Stage("distilled")
        yield from script
        yield outcome()

    monkeypatch.setattr("tutelage.demo.run_demo", run_demo)
    return call


def test_the_demo_shows_stages_runs_and_the_outcome(cli, played) -> None:
    answer = cli("demo", "--epochs", "2", "--folder", "out", "--seed", "3")
    assert answer.code == 0, answer.err
    assert played == {"project": "out", "epochs": 2, "seed": 3, "train_teacher": False}
    lines = answer.out.splitlines()
    assert "— baseline: yolov7-tiny@0.25" in lines
    assert lines.index("— distilled") > lines.index("— baseline: yolov7-tiny@0.25")
    assert sum(line.startswith("epoch 2/2") for line in lines) == 2
    assert lines[-7:] == [
        "             AP  AP50  parameters  GFLOPs  ms/image",
        "teacher    .400  .800      0.39 M    0.02       4.2",
        "baseline   .200  .400      0.39 M    0.02       4.2",
        "distilled  .250  .500      0.39 M    0.02       4.2",
        "",
        "Distillation raised AP by 5.0.",
        "Share of the gap to the teacher that distillation closed: 25 %",
    ]


def test_json_and_quiet(cli, played) -> None:
    rows = [json.loads(line) for line in cli("demo", "--json").out.splitlines()]
    assert rows[0] == {"event": "stage", "title": "baseline: yolov7-tiny@0.25"}
    assert rows[-1]["event"] == "outcome"
    assert [arm["AP"] for arm in rows[-1]["arms"]] == [0.4, 0.2, 0.25]
    assert cli("demo", "--quiet").out == ""


def test_the_default_budget_is_the_demos(cli, played) -> None:
    from tutelage.demo import EPOCHS

    cli("demo", "--train-teacher")
    assert (played["epochs"], played["train_teacher"], played["project"]) == (EPOCHS, True, "runs")
