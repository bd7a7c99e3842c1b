"""What a report compares: the same figures as ``tutelage compare``, and what cannot be compared."""

import json
import shutil

import numpy as np
import pytest

from tests.run.small_runs import make_data, run, settings
from tutelage.data import open_dataset
from tutelage.evaluation import bootstrap_metric, paired_difference
from tutelage.reports import results as module
from tutelage.reports.results import collect_results, group_by_seed
from tutelage.reports.runs import find_runs

DRAWS = 50


def collect(*folders):
    return collect_results(find_runs(folders), draws=DRAWS)


def test_two_runs_are_compared_on_the_test_split(runs):
    found = collect(runs / "plain", runs / "taught")
    index = open_dataset(str(found.arms[0].runs[0].config.data), "test")
    values = [
        bootstrap_metric(index, found.runs[name].table, draws=DRAWS) for name in ("plain", "taught")
    ]
    [row] = [row for row in found.rows if row.arm == "taught"]
    assert found.split == "test"
    assert row.difference == paired_difference(*([each] for each in values), images=len(index))
    assert row.methods == "fgd"
    assert found.teacher is not None
    assert found.teacher.scores.images == len(index)
    assert set(found.teaching) == {"taught"}
    assert found.sizes["plain"].parameters == found.sizes["taught"].parameters > 0
    assert found.notes == ()


def test_one_run_is_evaluated_on_val_by_what_it_has_stored(runs, monkeypatch):
    monkeypatch.setattr(module, "student_detections", None)  # is not needed
    found = collect(runs / "taught")
    recorded = json.loads((runs / "taught/scores.json").read_text())
    assert found.split == "val"
    assert pytest.approx(recorded["AP"], abs=1e-6) == found.runs["taught"].scores.AP
    assert (found.rows, found.teacher) == ((), None)
    assert (
        found.teacher_on_val
        == json.loads((runs / "taught/teacher.json").read_text())["scores"]["AP"]
    )


@pytest.mark.parametrize("spoil", ["other", "broken", "missing"])
def test_stored_detections_that_are_not_those_of_its_scores_are_not_used(runs, spoil, monkeypatch):
    path = runs / "taught/predictions.json"
    asked = []
    known = np.ones((1, 7)) * [0, 1, 1, 5, 5, 0.5, 0]
    monkeypatch.setattr(module, "student_detections", lambda *_: asked.append(1) or known)
    scores = json.loads((runs / "taught/scores.json").read_text()) | {"AP": 0.123}
    (runs / "taught/scores.json").write_text(json.dumps(scores))
    if spoil == "broken":
        path.write_text('[{"image_id": 1')
    elif spoil == "missing":
        path.unlink()
    assert len(collect(runs / "taught").runs["taught"].table) == 1
    assert asked == [1]


def test_seeds_of_an_arm_belong_together(runs):
    for seed in (1, 2):
        shutil.copytree(runs / "plain", runs / f"plain-s{seed}")
        path = runs / f"plain-s{seed}/config.yaml"
        path.write_text(path.read_text().replace("seed: 0", f"seed: {seed}", 1))
    folders = [runs / "plain", runs / "plain-s1", runs / "taught", runs / "plain-s2"]
    arms = group_by_seed(find_runs(folders))
    assert [(arm.name, len(arm.runs)) for arm in arms] == [("plain", 3), ("taught", 1)]
    rows = collect(*folders).rows
    assert [row.seeds for row in rows] == [(0, 1, 2), (0,)]
    assert rows[1].paired == (0,)


def test_two_single_runs_with_other_seeds_are_compared_and_it_is_said(runs):
    path = runs / "taught/config.yaml"
    path.write_text(path.read_text().replace("seed: 0", "seed: 5", 1))
    found = collect(runs / "plain", runs / "taught")
    assert found.rows[1].difference is not None
    assert "taught has seed 5, the baseline 0." in found.notes


def test_runs_that_differ_in_more_than_the_teacher(runs):
    path = runs / "taught/config.yaml"
    path.write_text(path.read_text().replace("lr: 0.01", "lr: 0.02", 1))
    [note] = collect(runs / "plain", runs / "taught").notes
    assert "optim.lr 0.01 → 0.02" in note


def test_runs_with_other_numbers_of_cpu_threads(runs):
    path = runs / "taught/environment.txt"
    path.write_text(path.read_text().replace("threads: 1", "threads: 2"))
    [note] = collect(runs / "plain", runs / "taught").notes
    assert "different numbers of CPU threads (1 to 2)" in note
    assert "train.threads=2" in note


def test_a_run_of_other_images_is_shown_and_not_compared(runs, tmp_path):
    data = make_data(tmp_path / "other")
    run(settings(data, tmp_path, run={"project": str(runs), "name": "other"}))
    found = collect(runs / "plain", runs / "other")
    assert set(found.runs) == {"plain"}
    assert found.rows[1].difference is None
    assert any("other was trained on" in note and "not compared" in note for note in found.notes)


def test_a_run_that_was_killed_before_its_first_evaluation(runs):
    for name in ("best.safetensors", "scores.json", "predictions.json", "metrics.jsonl"):
        (runs / "taught" / name).unlink()
    found = collect(runs / "plain", runs / "taught")
    assert found.rows[1].difference is None
    assert any("taught has no best.safetensors" in note for note in found.notes)


def test_runs_of_which_the_data_are_gone(runs):
    path = runs / "plain/config.yaml"
    name = next(line for line in path.read_text().splitlines() if line.startswith("data:"))
    path.write_text(path.read_text().replace(name, "data: /nowhere/data.yaml"))
    found = collect(runs / "plain", runs / "taught")
    assert (found.images, found.rows, dict(found.runs)) == (None, (), {})
    assert any("/nowhere/data.yaml" in note for note in found.notes)


def test_a_teacher_that_is_gone(runs):
    (runs.parent / "x").mkdir(exist_ok=True)
    path = runs / "taught/config.yaml"
    line = next(each for each in path.read_text().splitlines() if "  teacher:" in each)
    path.write_text(path.read_text().replace(line, "  teacher: /nowhere/teacher.safetensors"))
    found = collect(runs / "plain", runs / "taught")
    assert found.rows[1].difference is not None
    assert found.rows[1].gap_closed is None
    assert any("The teacher of taught cannot be shown" in note for note in found.notes)
