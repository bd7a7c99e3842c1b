from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest

from tutelage.cli.app import run
from tutelage.run.events import EpochDone, Evaluated, Finished, Planned, StepDone
from tutelage.structures import Losses


@dataclass
class Engine:
    """Stands for ``tutelage.run.run.run_training``: remembers its call, plays a script."""

    script: list[Any] = field(default_factory=list)
    config: Any = None
    call: dict[str, Any] = field(default_factory=dict)

    def run_training(self, config: Any, **call: Any) -> Iterator[Any]:
        self.config, self.call = config, call
        for event in self.script:
            if isinstance(event, BaseException):
                raise event
            yield event


@dataclass
class Answer:
    code: int
    out: str
    err: str


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    fake, module = Engine(), ModuleType("tutelage.run.run")
    module.run_training = fake.run_training  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tutelage.run.run", module)
    return fake


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], tmp_path, monkeypatch) -> Callable[..., Answer]:
    """Run a command line in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def call(*argv: str) -> Answer:
        code = run(list(argv))
        out, err = capsys.readouterr()
        return Answer(code, out, err)

    return call


@pytest.fixture
def script() -> list[Any]:
    """A distilled run of two epochs of two steps."""
    rows = (("student", "yolov7-tiny   6.2 M"), ("pairs", "57 → 75"), ("", "65 → 88"))
    events: list[Any] = [Planned(rows, "runs/d-01", 2, 2)]
    for epoch in range(2):
        for step in (1, 2):
            losses = Losses(
                {"box": 0.05, "obj": 0.7, "cls": 0.00001},
                {"fgd/foreground": 0.25, "fgd/relation": 0.5},
            )
            events.append(StepDone(epoch, step, losses, 0.01, 0.38))  # type: ignore[arg-type]
        means = {
            "box": 0.0461,
            "obj": 0.0113,
            "cls": 0.0042,
            "fgd/foreground": 0.25,
            "fgd/relation": 0.5,
        }
        events.append(EpochDone(epoch, means, 61.4, 0.0098))
        events.append(
            Evaluated(
                epoch, {"AP": 0.405 + epoch / 100, "AP50": 0.774, "AP75": 0.371}, best=epoch == 1
            )
        )
    events.append(Finished("runs/d-01", {"AP": 0.415, "AP50": 0.774}, 1, 2472.0))
    return events
