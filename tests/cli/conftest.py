from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tutelage.cli.app import run


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
    fake = Engine()
    monkeypatch.setattr("tutelage.api.train.run_training", fake.run_training)
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
