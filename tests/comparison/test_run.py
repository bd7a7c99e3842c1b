"""Whole comparisons in seconds; that each run has its process is proven in test_process."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.comparison.small_comparisons import DRAWS, compare, plan, train_here
from tests.data.write_dataset import make_scenes
from tests.models.pico import PICO
from tests.run.small_runs import last, make_data, make_teacher
from tutelage.comparison import run as compare_module
from tutelage.comparison.arms import plan_comparison
from tutelage.comparison.run import (
    ComparisonFinished,
    ComparisonPlanned,
    RunFailed,
    RunStarted,
    run_comparison,
)
from tutelage.errors import ConfigError
from tutelage.evaluation.validate import validate
from tutelage.run.events import Evaluated, Finished, StepDone


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUTELAGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(compare_module, "train_in_process", train_here)
        yield


def begun(events):
    return [
        (event.arm, event.seed, event.state) for event in events if isinstance(event, RunStarted)
    ]


def begin(comparison):
    """Go on until the settings are written and the first run starts; return the events."""
    events = []
    for event in run_comparison(comparison, draws=DRAWS):
        events.append(event)
        if isinstance(event, RunStarted):
            break
    return events


def stored(comparison):
    return json.loads((comparison.folder / "comparison.json").read_text())


@pytest.fixture(scope="module")
def done(world, tmp_path_factory):
    """Two methods, one of which fails in its run."""
    comparison = plan(world, tmp_path_factory.mktemp("done"), methods=("ld", "fgd:weight=1"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare_module, "check_arms", lambda *_: None)
        return comparison, compare(comparison)


def test_every_arm_is_trained(done):
    comparison, events = done
    assert begun(events) == [(arm, 0, "new") for arm in ("baseline", "ld", "fgd-weight1")]
    assert [event.number for event in events if isinstance(event, RunStarted)] == [1, 2, 3]
    for name in ("baseline-s0", "fgd-weight1-s0"):
        assert (comparison.folder / name / "best.safetensors").exists()
    config = (comparison.folder / "fgd-weight1-s0" / "config.yaml").read_text()
    assert "# tutelage compare" in config


def test_a_failing_arm_leaves_the_others_intact(done):
    comparison, events = done
    [failed] = [event for event in events if isinstance(event, RunFailed)]
    assert (failed.arm, failed.seed) == ("ld", 0)
    assert "not a distribution over bins" in failed.message
    result = last(events, ComparisonFinished)
    assert list(result.failed) == ["ld-s0"]
    assert any(note.startswith("Missing: ld-s0. ") for note in result.notes)
    runs = stored(comparison)["runs"]
    assert (runs["ld-s0"]["state"], runs["fgd-weight1-s0"]["state"]) == ("failed", "finished")
    assert [row.arm for row in result.rows] == ["baseline", "fgd-weight1", "ld"]
    assert result.rows[2].difference is None


def test_the_detections_are_those_of_tutelage_val(done, world):
    comparison, events = done
    data, teacher = world
    taught = comparison.folder / "fgd-weight1-s0"
    files = {taught: taught / "detections-test.npz"}
    files[teacher] = comparison.folder / "teacher-test.npz"
    for model, file in files.items():
        expected = validate(model, data=data, split="test", device="cpu").table
        with np.load(file, allow_pickle=False) as kept:
            assert len(expected)
            assert kept["table"] == pytest.approx(expected)
    assert last(events, ComparisonFinished).split == "test"


def test_what_is_stored(done):
    comparison, events = done
    result, found = last(events, ComparisonFinished), stored(comparison)
    assert found["settings"]["model"]["arch"] == str(PICO)
    assert found["teachers"]["teacher"]["AP"] == pytest.approx(result.teachers["teacher"])
    [row] = [row for row in found["arms"] if row["arm"] == "fgd-weight1"]
    assert row["difference"]["low"] == pytest.approx(result.rows[1].difference.low)
    assert row["sentence"] == result.rows[1].sentence
    assert row["time_ratio"] > 0
    [teaching] = found["teaching"]
    assert (teaching["asked"], teaching["runs"]) == (1.0, 1)
    assert [Path(each).parent for each in teaching["stores"]] == [comparison.folder / "store"]
    assert teaching["seconds"] > 0
    assert any(note.startswith("Teaching, once: 1 epoch's worth") for note in result.notes)
    run = found["runs"]["fgd-weight1-s0"]
    assert (run["epochs"], run["finished"]) == (1, True)
    assert run["seconds_per_epoch"] > 0
    told = (comparison.folder / "comparison.md").read_text()
    assert "| fgd-weight1 |" in told
    assert result.rows[1].sentence in told
    assert not [path for path in comparison.folder.rglob("*.npz") if _holds_objects(path)]


def _holds_objects(path):
    with np.load(path, allow_pickle=False) as kept:
        return any(kept[name].dtype == object for name in kept.files)


def test_nothing_is_done_twice_and_failed_runs_are_tried_again(done, monkeypatch):
    comparison, before = done
    monkeypatch.setattr(compare_module, "check_arms", lambda *_: None)
    monkeypatch.setattr("tutelage.comparison.detections.validate", None)  # a call would fail
    monkeypatch.setattr("tutelage.comparison.detections.bootstrap_metric", None)
    events = compare(comparison)
    states = [state for _, _, state in begun(events)]
    assert states == ["finished", "new", "finished"]
    assert not any(isinstance(event, StepDone | Finished) for event in events)
    again, first = last(events, ComparisonFinished), last(before, ComparisonFinished)
    assert repr(again.rows) == repr(first.rows)


@pytest.mark.slow
def test_stopped_between_runs_and_within_one(world, tmp_path):
    comparison = plan(world, tmp_path, train={"epochs": 2})
    events = run_comparison(comparison, draws=DRAWS)
    for event in events:
        if isinstance(event, RunStarted) and event.arm != "baseline":
            break
    for event in events:
        if isinstance(event, Evaluated) and event.epoch == 0:
            next(events)  # the save of the first epoch
            break
    events.close()
    rest = compare(comparison)
    assert begun(rest) == [("baseline", 0, "finished"), ("fgd-weight1", 0, "resumed")]
    assert [event.epoch for event in rest if isinstance(event, Evaluated)] == [1]
    assert stored(comparison)["runs"]["fgd-weight1-s0"]["epochs"] == 2


@pytest.mark.slow
def test_a_run_folder_counts_by_what_is_inside(world, tmp_path):
    """On data without a test split: val is used, and said."""
    comparison = plan(world, tmp_path / "runs", data=make_data(tmp_path / "d"))
    baseline = comparison.folder / "baseline-s0"
    baseline.mkdir(parents=True)
    (baseline / "metrics.jsonl").write_text("{}\n")  # of a run that never saved
    events = compare(comparison)
    assert begun(events)[0] == ("baseline", 0, "new")
    assert {path.name for path in comparison.folder.glob("baseline*")} == {"baseline-s0"}
    result = last(events, ComparisonFinished)
    assert result.split == "val"
    assert "no test split; val also chose each run's best epoch" in result.notes[0]
    (baseline / "cost.json").unlink()  # stopped just before it was written
    assert begun(compare(comparison))[0] == ("baseline", 0, "finished")
    (baseline / "best.safetensors").unlink()
    assert begun(begin(comparison)) == [("baseline", 0, "new")]


def test_seeds_and_methods_are_added_and_other_settings_refused(world, tmp_path):
    first = plan(world, tmp_path)
    begin(first)
    more = plan(world, tmp_path, methods=["fgd:weight=1", "pkd:weight=1"], seeds="2")
    surveyed = last(compare(more, dry_run=True), ComparisonPlanned)
    assert len(surveyed.runs) == 6
    other = plan(world, tmp_path, train={"epochs": 2, "batch": 2, "device": "auto"})
    with pytest.raises(ConfigError) as caught:
        compare(other)
    assert "train.epochs: 2 contradicts its 1" in str(caught.value)
    assert "train.batch: 2 contradicts its 4" in str(caught.value)
    assert "train.device" not in str(caught.value)


def test_other_images_or_another_teacher_are_refused(world, tmp_path):
    comparison = plan(world, tmp_path)
    begin(comparison)
    data = make_scenes(tmp_path / "d", 4)
    teacher = make_teacher(tmp_path / "other.safetensors")
    changed = plan((str(data), teacher), tmp_path)
    changed = changed._replace(folder=comparison.folder)
    with pytest.raises(ConfigError) as caught:
        compare(changed)
    assert "data: the train images of" in str(caught.value)
    assert "is not the network that" in str(caught.value)


def test_a_run_folder_of_other_settings_is_refused(done, tmp_path, world):
    comparison, _ = done
    other = plan(world, tmp_path, train={"epochs": 3})
    other.folder.mkdir()
    (other.folder / "baseline-s0").symlink_to(comparison.folder / "baseline-s0")
    with pytest.raises(ConfigError, match=r"baseline-s0: train\.epochs 3 contradicts its 1"):
        compare(other)


def test_what_cannot_work_is_told_before_anything_is_trained(world, tmp_path):
    config = plan(world, tmp_path).config
    layers = {"student_kd_layers": ("57", "999")}
    distill = config.distill.model_copy(update=layers)
    bad = plan_comparison(config.model_copy(update={"distill": distill}), methods=["fgd"])
    with pytest.raises(ConfigError, match="999"):
        compare(bad)
    assert not bad.folder.exists()


def test_a_dry_run_writes_nothing(world, tmp_path):
    comparison = plan(world, tmp_path)
    surveyed = last(compare(comparison, dry_run=True), ComparisonPlanned)
    assert [state for _, state in surveyed.runs] == ["new", "new"]
    assert not comparison.folder.exists()


@pytest.mark.slow
def test_several_teachers_teach_and_the_gap_is_that_to_the_best(world, tmp_path):
    better = make_teacher(tmp_path / "better.safetensors")
    comparison = plan((world[0], [world[1], better]), tmp_path)
    result = last(compare(comparison), ComparisonFinished)
    assert list(result.teachers) == ["teacher 1", "teacher 2"]
    assert result.rows[1].difference is not None
    assert any("best of the teachers" in note for note in result.notes)
    assert {path.name for path in comparison.folder.glob("*.npz")} >= {
        "teacher-1-test.npz",
        "teacher-2-test.npz",
    }
    fewer = plan((world[0], [better]), tmp_path)
    with pytest.raises(ConfigError, match="teacher"):
        compare(fewer)


def test_several_processes_are_refused(world, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="one process"):
        compare(plan(world, tmp_path))


def test_the_wiring_of_every_arm_is_proven_before_anything_is_trained(world, tmp_path):
    asked = plan(world, tmp_path / "runs", methods=["fgd", "ld"])
    with pytest.raises(ConfigError, match="'ld' cannot compare"):
        compare(asked, dry_run=True)
    assert not (tmp_path / "runs").exists()
