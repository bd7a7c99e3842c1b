"""What a report reads from run folders."""

import json

import pytest

from tests.comparison.small_comparisons import compare, plan
from tests.data.write_dataset import write_yaml
from tests.run.small_runs import make_data, make_teacher
from tutelage.errors import ConfigError
from tutelage.reports.runs import find_runs, read_run, same_but_for_seed, without_seed


def test_the_files_of_a_run(runs):
    plain, taught = find_runs([runs / "plain", runs / "taught"])
    assert (plain.name, taught.name) == ("plain", "taught")
    assert [row["epoch"] for row in taught.rows] == [1, 2]
    assert [epoch for epoch, _ in taught.evaluated] == [1, 2]
    assert (len(plain.teachers), len(taught.teachers)) == (0, 1)
    assert "distill:" in taught.settings
    assert taught.environment["python"]
    assert taught.scores["images"] == 8


def test_a_run_that_was_killed_while_it_wrote(runs):
    with (runs / "plain/metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "box": NaN, "AP": null}\n{"epoch": 4, "bo')
    (runs / "plain/scores.json").unlink()
    (runs / "plain/environment.txt").unlink()
    found = read_run(runs / "plain")
    assert [row["epoch"] for row in found.rows] == [1, 2, 3]
    assert [epoch for epoch, _ in found.evaluated] == [1, 2]
    assert (found.scores, found.environment) == ({}, {})


@pytest.mark.parametrize("name", ["nowhere", "empty", "file"])
def test_what_is_no_run_is_refused(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match=f"{name}.*config.yaml"):
        find_runs([tmp_path / name])


def test_a_folder_of_which_settings_cannot_be_read(runs):
    (runs / "plain/config.yaml").write_text("train: [")
    with pytest.raises(ConfigError):
        find_runs([runs / "plain"])


def test_runs_of_one_name_keep_apart(runs, tmp_path):
    (runs / "plain").rename(tmp_path / "taught")
    names = [run.name for run in find_runs([tmp_path / "taught", runs / "taught"])]
    assert names == [f"{tmp_path.name}/taught", "runs/taught"]


def test_a_run_given_twice_counts_once(runs):
    assert len(find_runs([runs / "plain", f"{runs}/../runs/plain"])) == 1


def test_the_runs_of_a_comparison_the_baseline_first(tmp_path):
    make_data(tmp_path)
    test = make_data(tmp_path / "more").removesuffix("/data.yaml")
    splits = {"train": "images/train", "val": "images/train", "test": f"{test}/images/train"}
    data = str(write_yaml(tmp_path / "data.yaml", **splits, names=["cat", "dog"]))
    world = (data, make_teacher(tmp_path / "teacher.safetensors"))
    comparison = plan(world, tmp_path, methods=("at:weight=1",))
    compare(comparison)
    found = find_runs([comparison.folder])
    assert [without_seed(run.name) for run in found] == ["baseline", "at-weight1"]


def test_runs_that_differ_in_their_seed_alone(runs):
    plain, taught = find_runs([runs / "plain", runs / "taught"])
    other = plain.config.train.model_copy(update={"seed": 7})
    assert same_but_for_seed(plain.config, plain.config.model_copy(update={"train": other}))
    longer = plain.config.train.model_copy(update={"epochs": 7})
    assert not same_but_for_seed(plain.config, plain.config.model_copy(update={"train": longer}))
    assert not same_but_for_seed(plain.config, taught.config)


def test_metrics_that_are_no_rows(runs):
    (runs / "plain/metrics.jsonl").write_text("[1, 2]\n" + json.dumps({"epoch": "one"}) + "\n")
    assert read_run(runs / "plain").rows == []
