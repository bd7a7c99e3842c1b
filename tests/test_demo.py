"""The demo, shortened: what ``make demo`` does."""

import json
from pathlib import Path

import pytest

from tutelage.comparison.run import ComparisonFinished, RunFailed, RunStarted
from tutelage.demo import TEACHER, DemoResult, run_demo, settings, shipped_teacher
from tutelage.errors import TrainingError
from tutelage.evaluation.validate import validate
from tutelage.models.build import load
from tutelage.run.events import Planned


@pytest.mark.slow
@pytest.mark.timeout(600)  # half a minute alone, many beside a busy neighbour
def test_the_demo_compares_three_arms_on_the_test_split(tmp_path, monkeypatch):
    monkeypatch.setattr("tutelage.demo.DATA", "digits:easy")  # a third of the images
    events = list(run_demo(project=str(tmp_path), epochs=1, seed=3))
    outcome = events[-1]
    assert isinstance(outcome, DemoResult)
    teacher, baseline, distilled = outcome.arms
    assert [arm.title for arm in outcome.arms] == ["teacher", "baseline", "distilled"]
    for arm in outcome.arms:  # what `tutelage val` finds
        scores = validate(arm.model, data="digits:easy", split="test", image_size=128)
        assert pytest.approx((scores.AP, scores.AP50), abs=1e-4) == (arm.AP, arm.AP50)
    assert max(baseline.AP, distilled.AP) < teacher.AP
    assert teacher.parameters > 3 * baseline.parameters
    assert baseline.parameters == distilled.parameters
    assert baseline.gflops == distilled.gflops
    assert outcome.difference.images == 60
    assert "One seed each" in outcome.verdict
    assert outcome.difference.delta == pytest.approx(distilled.AP - baseline.AP)
    gap = teacher.AP - baseline.AP
    assert outcome.gap_closed == pytest.approx(outcome.difference.delta / gap)
    assert outcome.starts == "Both students started from scratch."
    runs = [e for e in events if isinstance(e, RunStarted)]
    assert [(run.arm, run.seed) for run in runs] == [("baseline", 3), ("bckd", 3)]
    stored = json.loads((tmp_path / "demo" / "comparison.json").read_text())
    assert stored["arms"][1]["difference"]["low"] == outcome.difference.low
    assert stored["command"] == "tutelage demo"
    plans = [dict(e.rows) for e in events if isinstance(e, Planned)]
    assert "teacher" not in plans[0]
    assert "on this val" in plans[1]["teacher"]


def test_each_demo_has_a_folder_of_its_own_and_a_failed_run_ends_it(tmp_path, monkeypatch):
    def fails(comparison, **_):
        yield RunFailed("auto", 0, str(comparison.folder), "boom")
        folders.append(comparison.folder)
        yield ComparisonFinished("", "test", {}, (), (), {"auto-s0": "boom"})

    folders: list[Path] = []
    monkeypatch.setattr("tutelage.demo.run_comparison", fails)
    for _ in range(2):
        with pytest.raises(TrainingError, match="boom"):
            list(run_demo(project=str(tmp_path)))
    assert folders == [tmp_path / "demo", tmp_path / "demo-02"]


def test_the_arms_differ_in_name_and_teacher_alone(tmp_path):
    base = settings("a", project=str(tmp_path)).config.model_dump()
    taught = settings("b", project=str(tmp_path), teacher="t.safetensors").config.model_dump()
    assert base.pop("run")["name"] == "a"
    assert taught.pop("run")["name"] == "b"
    kd = {"teacher": "t.safetensors"}
    kd |= dict.fromkeys(("student_kd_layers", "teacher_kd_layers"), ("74", "75", "76"))
    found = taught.pop("distill")
    assert [method["name"] for method in found.pop("methods")] == ["bckd"]
    assert base["distill"].pop("methods")
    assert found == base.pop("distill") | kd
    assert base == taught


def test_the_shipped_teacher_is_small_and_good():
    path = shipped_teacher()
    assert path.stat().st_size <= 3_000_000
    net = load(path)
    assert net.names == tuple("0123456789")
    assert net.arch_name == TEACHER
    assert validate(path, data="digits", split="test", image_size=128).AP >= 0.4
