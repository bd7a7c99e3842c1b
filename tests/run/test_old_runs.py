"""Run folders of the first version still load, go on to the same end, and evaluate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import tutelage
from tests.data.write_dataset import make_scenes
from tutelage.cli.app import run as command

RUNS = Path(__file__).parent.parent / "golden/runs"
UNSTEADY = {"seconds", "teacher_ms", "teacher_gib"}
LATER = {"teacher_seconds", "measuring_seconds"}  # the first version did not say


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the working directory of the old runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    make_scenes(tmp_path / "data", 8)
    shutil.copytree(RUNS, tmp_path / "runs")
    return tmp_path


@pytest.mark.parametrize("name", ["plain", "distilled"])
def test_it_resumes_to_the_end_of_the_first_version(folder, name):
    run = folder / "runs" / name
    assert len(rows(run / "metrics.jsonl")) == 2
    assert command(["train", "--resume", f"runs/{name}"]) == 0
    found, expected = rows(run / "metrics.jsonl"), rows(run / "expected.jsonl")
    assert len(found) == len(expected) == 4
    for one, other in zip(found, expected, strict=True):
        assert one.keys() - LATER == other.keys()
        for key in other.keys() - UNSTEADY:
            wanted = other[key]
            # Two epochs amplify how the processor rounds; the same one repeats every bit.
            close = wanted if wanted is None else pytest.approx(wanted, rel=0.05, abs=1e-6)
            assert one[key] == close, key


@pytest.mark.parametrize("name", ["plain", "distilled", "teacher"])
def test_its_weights_load_and_evaluate(folder, name, capsys):
    model = tutelage.load(f"runs/{name}")
    assert model.names == ("cat", "dog")
    assert command(["val", f"runs/{name}", "--data", "data/data.yaml"]) == 0
    assert "dog" in capsys.readouterr().out


def test_its_settings_start_a_new_run(folder):
    assert command(["train", "--config", "runs/plain/config.yaml", "--dry-run"]) == 0
