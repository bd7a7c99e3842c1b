"""The figures of a comparison against direct computation, on made-up detections."""

import json
import math
import statistics
from types import SimpleNamespace

import numpy as np
import pytest

from tests.evaluation.synthetic_coco import compare_seeds, detect, make_index
from tests.run.small_runs import last, settings
from tutelage.comparison import run as compare_module
from tutelage.comparison.arms import plan_comparison
from tutelage.comparison.cost import RunCost, write_cost
from tutelage.comparison.run import ComparisonFinished, RunFailed, run_comparison
from tutelage.comparison.table import HEAD, RunResult, compare_arms, markdown, table_cells
from tutelage.comparison.timing import ArmTiming, Timing
from tutelage.errors import ConfigError, TrainingError
from tutelage.evaluation import bootstrap_metric, gap_closed, score
from tutelage.run.events import Finished, Stage

INDEX, DRAWS = make_index(40, seed=1), 300
NOISE = {"baseline": 0.12, "fgd": 0.07, "fgd-e0.5": 0.12, "pkd": 0.2}
TEACHER = detect(INDEX, seed=99, noise=0.02)


def found(arm, seed):
    return detect(INDEX, seed=1000 * len(arm) + seed, noise=NOISE[arm])


def result(arm, seed, *, seconds=2.0, peak=100.0):
    scores = score(INDEX, found(arm, seed))
    values = bootstrap_metric(INDEX, scores.table, draws=DRAWS)
    return RunResult(
        scores.AP, scores.AP50, values, RunCost(True, 10, seconds, peak, "cpu", 1, 10 * seconds)
    )


def plan(project, *methods, train=None, distill=None, **asked):
    train = {"epochs": 10, **(train or {})}
    distill = {"teacher": "t.pt", **(distill or {})}
    config = settings("d.yaml", project, train=train, distill=distill)
    return plan_comparison(config, methods=methods, **asked)


@pytest.fixture(scope="module")
def rows():
    arms = plan("runs", "pkd", "fgd", epochs_share="0.5").arms
    results = {("baseline", seed): result("baseline", seed) for seed in (0, 1, 2)}
    results |= {("fgd", seed): result("fgd", seed, seconds=3, peak=125) for seed in (1, 2, 5)}
    results |= {("pkd", seed): result("pkd", seed) for seed in (0, 1, 2)}
    results |= {("fgd-e0.5", 0): result("fgd-e0.5", 0)}
    return compare_arms(arms, results, bootstrap_metric(INDEX, TEACHER, draws=DRAWS), images=40)


def test_each_row_is_that_of_a_direct_computation(rows):
    table = {row.arm: row for row in rows}
    fgd = table["fgd"]
    assert (fgd.seeds, fgd.paired) == ((1, 2, 5), (1, 2))  # the baseline lacks seed 5
    base, taught = ([found(arm, seed) for seed in (1, 2)] for arm in ("baseline", "fgd"))
    assert fgd.difference == compare_seeds(INDEX, base, taught, draws=DRAWS)
    deltas = [score(INDEX, b).AP - score(INDEX, a).AP for a, b in zip(base, taught, strict=True)]
    assert fgd.deltas == pytest.approx(deltas)
    assert fgd.delta_sd == pytest.approx(statistics.stdev(deltas))
    assert pytest.approx(fgd.AP) == np.mean([score(INDEX, found("fgd", s)).AP for s in (1, 2, 5)])
    gap = score(INDEX, TEACHER).AP - np.mean([score(INDEX, run).AP for run in base])
    assert fgd.gap_closed[0] == pytest.approx(np.mean(deltas) / gap)
    assert fgd.gap_closed[1] < fgd.gap_closed[0] < fgd.gap_closed[2]
    assert (fgd.time_ratio, fgd.memory_ratio) == (1.5, 1.25)


def test_verdicts_and_order(rows):
    assert rows[0].arm == "baseline"
    by_gain = [row.difference.delta for row in rows[1:-1]]
    assert by_gain == sorted(by_gain, reverse=True)
    verdicts = {row.arm: row.verdict for row in rows}
    assert verdicts["pkd"] == "hurt"
    assert verdicts["fgd-e0.5"] == "no demonstrable difference"
    assert rows[-1].arm == "pkd-e0.5"  # never trained
    table = {row.arm: row for row in rows}
    assert "fgd-e0.5 (50 % of the epochs)" in table["fgd-e0.5"].sentence
    assert "One seed each" in table["fgd-e0.5"].sentence
    assert math.isnan(table["fgd-e0.5"].difference.seed_low)


def test_the_table(rows):
    cells = {
        row[0]: dict(zip(HEAD, row, strict=True)) for row in table_cells(rows, {"teacher": 0.5})
    }
    assert cells["teacher"]["AP"] == ".500"
    fgd, row = cells["fgd"], next(row for row in rows if row.arm == "fgd")
    difference = row.difference
    assert fgd["AP"] == f"{row.AP:.3f} ± {row.AP_sd:.3f}".replace("0.", ".")
    assert fgd["ΔAP"] == f"{100 * difference.delta:+.1f} ± {100 * row.delta_sd:.1f}"
    assert fgd["95 % interval"] == f"{100 * difference.low:+.1f}…{100 * difference.high:+.1f}"
    assert (fgd["time"], fgd["memory"], fgd["seeds"]) == ("1.50", "1.25", "2")
    assert fgd["gap closed"].startswith(f"{100 * row.gap_closed[0]:.0f} % (")
    assert cells["fgd-e0.5"]["t over seeds"] == ""
    assert cells["pkd-e0.5"]["verdict"] == "nothing to compare"
    text = markdown(rows, {"teacher": 0.5}, ["a note"])
    assert "| fgd |  | " in text  # of seed 0 there is no pair
    assert text.endswith("\n\n- a note\n")


def test_steps_that_were_timed():
    arms = plan("runs", "fgd", "pkd", epochs_share="0.5", distill={"views": 2}).arms
    results = {
        (arm.name, seed): result(arm.name, seed)
        for arm in arms[:3]
        for seed in (0, 1)  # not pkd
    }
    checks = results["fgd", 1].cost._replace(checks_seconds=1.0)
    for seed in (0, 1):
        results["fgd", seed] = results["fgd", seed]._replace(cost=checks)
    timings = {"fgd": ArmTiming(2.5, 1.1), "pkd": ArmTiming(3.0, None)}
    rows = {row.arm: row for row in compare_arms(arms, results, None, images=40, timings=timings)}
    assert rows["fgd"].time_ratio == pytest.approx((10 + 2 * 1.5 + 8 * 0.1) / 10 + 1 / 20)
    assert rows["fgd-e0.5"].time_ratio == pytest.approx((5 + 2 * 1.5 + 3 * 0.1) / 10)
    assert rows["pkd"].time_ratio is None
    cells = {row[0]: dict(zip(HEAD, row, strict=True)) for row in table_cells(rows.values(), {})}
    assert cells["fgd"]["time"] == "1.43 (1.10)"
    assert cells["baseline"]["time"] == "1.00"


def test_the_gap_closed():
    a = [np.array([0.2, 0.1, 0.3]), np.array([0.4, 0.3, 0.5])]
    b = [values + 0.1 for values in a]
    share, low, high = gap_closed(a, b, np.array([0.7, 0.9, 0.9]))
    assert share == pytest.approx(0.1 / 0.4)
    assert 0.1 / 0.8 - 1e-9 <= low <= high <= 0.1 / 0.4 + 1e-9
    assert gap_closed(a, b, np.array([0.3, 0.9, 0.9])) is None
    assert math.isnan(gap_closed(a, b, np.array([0.7, 0.2, 0.2]))[1])


def test_two_runs_that_find_nothing_are_not_called_equal():
    arms = plan("runs", "fgd").arms
    blind = RunResult(0.0, 0.0, np.zeros(DRAWS + 1), None)
    _, row = compare_arms(arms, {(arm.name, 0): blind for arm in arms}, None, images=40)
    assert row.sentence.startswith("Nothing to compare: neither fgd nor the baseline finds")


@pytest.fixture
def engine(monkeypatch):
    """A comparison whose training and detections are made up."""

    def train(run, **call):
        config, folder = run.config, run.folder
        folder.mkdir(parents=True)
        if config.distill.methods[0].name == "pkd" and config.train.seed == 1:
            raise TrainingError("pkd became nan.")
        if config.train.seed == 7:
            raise ValueError("boom")
        row = {"seconds": 1.0 + 2 * bool(config.distill.teacher)}
        (folder / "metrics.jsonl").write_text(json.dumps(row) + "\n")
        (folder / "best.safetensors").touch()
        (folder / "threads").write_text(str(config.train.threads))
        (folder / "runtime").write_text(config.distill.teacher_runtime)
        write_cost(folder, compare_module.choose_device("cpu"), finished=True, peak=100.0)
        yield Finished(str(folder), {}, 0, 1.0)

    def table(folder, *_):
        arm, _, seed = folder.name.rpartition("-s")
        return found(arm, int(seed))

    for name, fake in {
        "train_in_process": train,
        "student_detections": table,
        "teacher_detections": lambda *_: TEACHER,
        "open_test_images": lambda *_: ("test", INDEX),
        "load_teacher": lambda *_: SimpleNamespace(names=("cat",)),
        "identify": lambda *_: {},
        "check_arms": lambda *_: None,
    }.items():
        monkeypatch.setattr(compare_module, name, fake)


def test_a_comparison_from_end_to_end(engine, tmp_path):
    comparison = plan(tmp_path, "fgd", "pkd", seeds="3")
    events = list(run_comparison(comparison, draws=DRAWS))
    result = last(events, ComparisonFinished)
    table = {row.arm: row for row in result.rows}
    seeds = {"fgd": (0, 1, 2), "pkd": (0, 2)}
    for arm, paired in seeds.items():
        runs = [[found(name, seed) for seed in paired] for name in ("baseline", arm)]
        expected = compare_seeds(INDEX, *runs, draws=DRAWS)
        assert table[arm].difference == expected
        assert table[arm].time_ratio == 3
    assert result.failed == {"pkd-s1": "pkd became nan."}
    assert "300 draws of seeds, then images" in result.notes[1]
    assert "Student's t over the seeds (n = 3)" in result.notes[1]
    assert any("2 arms were compared with the baseline" in note for note in result.notes)
    stored = json.loads((comparison.folder / "comparison.json").read_text())
    own = score(INDEX, found("fgd", 0)).to_dict()["per_class"]
    assert stored["runs"]["fgd-s0"]["per_class"] == {name: own[name]["AP"] for name in own}
    assert [row["arm"] for row in stored["arms"]] == [row.arm for row in result.rows]
    assert stored["runs"]["pkd-s1"]["state"] == "failed"
    assert stored["teachers"]["teacher"]["AP"] == pytest.approx(score(INDEX, TEACHER).AP)


def test_all_runs_are_handed_one_number_of_threads(engine, tmp_path, monkeypatch):
    fastest = iter([2, 1, 4, 8])  # by the moment
    monkeypatch.setattr("tutelage.comparison.threads.choose_threads", lambda *_: next(fastest))
    comparison = plan(tmp_path, "fgd", seeds="2", train={"threads": "auto"})
    list(run_comparison(comparison, draws=DRAWS))
    assert {path.read_text() for path in comparison.folder.glob("*/threads")} == {"2"}
    assert json.loads((comparison.folder / "comparison.json").read_text())["threads"] == 2


def test_a_finished_comparison_is_timed_later(engine, tmp_path, monkeypatch):
    def timed(comparison, origins):
        calls.append({arm.config.train.threads for arm in comparison.arms})
        yield Stage("timing")
        if len(calls) > 1:
            raise ConfigError("no room.")
        return Timing({"fgd": ArmTiming(2.0, 1.25)}, 20, "cpu", 1)

    calls = []
    monkeypatch.setattr(compare_module, "time_arms", timed)
    monkeypatch.setattr(compare_module, "check_same", lambda *_: None)
    comparison = plan(tmp_path, "fgd", seeds="1", distill={"views": 2})
    plain, *later = (
        last(list(run_comparison(comparison, draws=DRAWS, time=time)), ComparisonFinished)
        for time in (False, True, False, True)
    )
    assert (plain.rows[1].time_ratio, plain.rows[1].later_ratio) == (3, None)
    assert "finds its answers stored" in plain.notes[2]
    for result in later:  # what was measured is kept
        assert result.rows[1].time_ratio == pytest.approx((10 + 2 * 1.0 + 8 * 0.25) / 10)
        assert "20 steps" in result.notes[2]
    assert calls == [{1}, {1}]
    untimed = "The steps could not be timed: no room."
    assert [untimed in each.notes for each in later] == [False, False, True]
    kept = json.loads((comparison.folder / "comparison.json").read_text())
    assert kept["timing"]["arms"]["fgd"] == {"asked": 2.0, "stored": 1.25}
    more = plan(tmp_path, "fgd", "pkd", seeds="1", distill={"views": 2})
    events = list(run_comparison(more, draws=DRAWS))
    assert last(events, ComparisonFinished).rows[1].later_ratio is None  # pkd was not timed


def test_all_runs_are_handed_one_way_to_run_the_teacher(engine, tmp_path, monkeypatch):
    def choose(*_):
        yield Stage("timing the teacher")
        return next(fastest)

    fastest = iter(["bf16", "torch"])  # by the moment
    monkeypatch.setattr(compare_module, "common_runtime", choose)
    comparison = plan(tmp_path, "fgd", seeds="2", distill={"teacher_runtime": "auto"})
    list(run_comparison(comparison, draws=DRAWS))
    found = {path.parent.name: path.read_text() for path in comparison.folder.glob("*/runtime")}
    assert {name: found[name] for name in ("fgd-s0", "fgd-s1")} == {
        "fgd-s0": "bf16",
        "fgd-s1": "bf16",
    }
    stored = json.loads((comparison.folder / "comparison.json").read_text())
    assert stored["teacher_runtime"] == "bf16"


def test_a_fault_of_ours_costs_one_run_and_leaves_its_traceback(engine, tmp_path):
    comparison = plan(tmp_path, "fgd", seed_list="7")
    events = list(run_comparison(comparison, draws=DRAWS))
    assert [event.message for event in events if isinstance(event, RunFailed)] == [
        "ValueError: boom"
    ] * 2
    assert "Traceback" in (comparison.folder / "fgd-s7" / "crash.txt").read_text()
    assert last(events, ComparisonFinished).rows[1].difference is None
