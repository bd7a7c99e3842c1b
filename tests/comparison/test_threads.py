"""All runs of a comparison use one number of CPU threads."""

import pytest
import torch

from tests.comparison.small_comparisons import plan
from tutelage.comparison import threads as module
from tutelage.comparison.arms import ORIGIN, origins_of
from tutelage.comparison.cost import RunCost
from tutelage.comparison.stored import check_same
from tutelage.comparison.threads import common_threads
from tutelage.config.dump import dump
from tutelage.errors import ConfigError
from tutelage.run.folder import write_json

CPU, NAMES = torch.device("cpu"), ("cat", "dog")


def comparison(folder, **train):
    return plan(("d.yaml", "t.pt"), folder, train={"threads": "auto", **train}, seeds="2")


def test_it_is_chosen_once_and_kept_when_the_comparison_is_continued(tmp_path, monkeypatch):
    fastest = iter([2, 1, 4])  # by the moment
    monkeypatch.setattr(module, "choose_threads", lambda *_: next(fastest))
    begun = comparison(tmp_path)
    threads = common_threads(begun, {}, CPU, NAMES)
    assert [run.config.train.threads for run in begun.with_threads(threads).runs()] == [2] * 4
    assert common_threads(begun, {"threads": 2}, CPU, NAMES) == 2


def test_a_given_number_is_used_and_a_gpu_needs_none(tmp_path):
    assert common_threads(comparison(tmp_path, threads=3), {"threads": 2}, CPU, NAMES) == 3
    assert common_threads(comparison(tmp_path), {}, torch.device("cuda"), NAMES) is None


def test_a_comparison_without_a_record_keeps_that_of_most_of_its_runs(tmp_path):
    begun = comparison(tmp_path)
    for run, threads in zip(begun.runs(), (1, 2, 2), strict=False):
        run.folder.mkdir(parents=True)
        write_json(run.folder / "cost.json", RunCost(True, 1, 1.0, 1.0, "cpu", threads)._asdict())
    assert common_threads(begun, {}, CPU, NAMES) == 2


def test_the_number_is_no_other_setting_unless_it_was_given(tmp_path):
    begun = comparison(tmp_path)
    trained = begun.with_threads(2)
    for run in trained.runs():
        run.folder.mkdir(parents=True)
        (run.folder / "config.yaml").write_text(dump(run.config, origins_of(run.arm, {})))
    assert "threads: 2 " in (run.folder / "config.yaml").read_text()
    assert origins_of(trained.arms[1], {})["train.threads"] == ORIGIN
    check_same(begun, {}, {})
    with pytest.raises(ConfigError, match=r"train\.threads 3 contradicts its 2"):
        check_same(comparison(tmp_path, threads=3), {}, {})
