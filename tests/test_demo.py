"""The main job, shortened: what ``make demo`` does."""

import json
from pathlib import Path

import pytest

from tutelage.compare.side_by_side import Outcome, Stage
from tutelage.demo import TEACHER, run_demo, settings, shipped_teacher
from tutelage.models.build import load
from tutelage.run.events import Finished, Planned


@pytest.mark.slow
@pytest.mark.timeout(1200)  # a minute alone, many beside a busy neighbour
def test_the_demo_compares_three_arms_on_the_test_split(tmp_path):
    events = list(run_demo(project=str(tmp_path), epochs=1))
    outcome = events[-1]
    assert isinstance(outcome, Outcome)
    teacher, baseline, distilled = outcome.arms
    assert teacher.scores.AP >= 0.4
    assert teacher.parameters > 3 * baseline.parameters
    assert baseline.parameters == distilled.parameters
    assert baseline.gflops == distilled.gflops
    assert outcome.difference.images == 300
    assert "One seed each" in outcome.verdict
    assert outcome.difference.delta == pytest.approx(distilled.scores.AP - baseline.scores.AP)
    assert sum(isinstance(e, Stage) for e in events) == 3
    folders = [Path(e.folder) for e in events if isinstance(e, Finished)]
    stored = json.loads((folders[-1] / "comparison.json").read_text())
    assert stored["verdict"] == outcome.verdict
    plans = [dict(e.rows) for e in events if isinstance(e, Planned)]
    assert "teacher" not in plans[0]
    assert "on this val" in plans[1]["teacher"]


def test_the_arms_differ_in_name_and_teacher_alone(tmp_path):
    base = settings("a", project=str(tmp_path)).config.model_dump()
    taught = settings("b", project=str(tmp_path), teacher="t.safetensors").config.model_dump()
    assert base.pop("run")["name"] == "a"
    assert taught.pop("run")["name"] == "b"
    kd = {"teacher": "t.safetensors"}
    kd |= dict.fromkeys(("student_kd_layers", "teacher_kd_layers"), ("74", "75", "76"))
    assert taught.pop("distill") == base.pop("distill") | kd
    assert base == taught


def test_the_shipped_teacher_is_small_and_whole():
    path = shipped_teacher()
    assert path.stat().st_size <= 3_000_000
    net = load(path)
    assert net.names == tuple("0123456789")
    assert net.arch_name == TEACHER
