"""What the shell offers after a key press."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tutelage.cli import completion as c
from tutelage.distill import METHODS
from tutelage.models import ARCHITECTURES


def complete(line: str, folder: Path) -> list[str]:
    """Return what bash would be offered at the end of a command line."""
    answer = subprocess.run(
        [sys.executable, "-m", "tutelage"],
        env={
            **os.environ,
            "_TUTELAGE_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split(" ")) - 1),
        },
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.split()


def test_the_shell_completes_options_and_words(tmp_path: Path) -> None:
    assert complete("tutelage train --cfg yolov7-t", tmp_path) == [
        "yolov7-tiny",
        "yolov7-tiny-silu",
    ]
    assert complete("tutelage explain d0", tmp_path)[:2] == ["d00", "d01"]


def test_the_names_are_those_that_exist() -> None:
    assert tuple(ARCHITECTURES) == c.ARCHITECTURES
    assert tuple(METHODS) == c.METHODS


def test_models_are_architectures_and_yamls(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "models").mkdir()
    for name in ("yolov7-mine.yaml", "models/own.yml", "models/notes.txt", ".hidden.yaml"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    assert c.complete_models("yolov7-m") == ["yolov7-mine.yaml"]
    assert c.complete_models("mod") == ["models/"]
    assert c.complete_models("models/") == ["models/own.yml"]
    assert c.complete_models(f"{tmp_path}/mod") == [f"{tmp_path}/models/"]
    assert c.complete_models("nowhere/x") == []
    assert c.complete_models("") == [*ARCHITECTURES, "models/", "yolov7-mine.yaml"]


@pytest.mark.parametrize(
    ("given", "offered"),
    [("cw", ["cwd"]), ("fgd+b", ["fgd+box", "fgd+bckd"]), ("au", ["auto"]), ("x", [])],
)
def test_methods(given: str, offered: list[str]) -> None:
    assert c.complete_methods(given) == offered


@pytest.mark.parametrize(
    ("given", "offered"),
    [
        ("optim.mom", ["optim.momentum="]),
        ("optim.name=ad", ["optim.name=adam", "optim.name=adamw"]),
        ("optim.lr=", []),
        ("nothing=", []),
    ],
)
def test_settings(given: str, offered: list[str]) -> None:
    assert c.complete_settings(given) == offered


def test_findings_are_codes() -> None:
    assert "label-pixels" in c.complete_codes("label-p")
    assert "T21" in c.complete_codes("T2")


def test_stores_are_names_in_the_usual_folder_and_paths(tmp_path: Path, monkeypatch) -> None:
    for name in ("runs/store/bccd-1/store.json", "runs/store/other/x.json", "bccd/x"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    (tmp_path / "bccd.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert c.complete_stores("bc") == ["bccd-1", "bccd/"]
    assert c.complete_stores("runs/store/o") == ["runs/store/other/"]
    assert c.complete_stores("runs/store/bccd-1/") == []
