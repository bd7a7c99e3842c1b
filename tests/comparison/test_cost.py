"""What runs cost, from the rows of their metrics."""

import json

import pytest
import torch

from tutelage.comparison.cost import read_cost, run_seconds, write_cost

CPU = torch.device("cpu")


def rows(*each):
    return [{"seconds": seconds, **more} for seconds, more in each]


def taught(seconds, asked, **more):
    return seconds, {"asked": asked, **more}


FILLING = rows(  # one that fills a store: 4 epochs ask, the checks too; one of the others disturbed
    taught(9.0, 0.5, checking_seconds=7.0, checks_teacher_seconds=3.0, checks_asked=0.5),
    taught(10.0, 1.0, teacher_seconds=5.0, store_seconds=0.5),
    taught(10.0, 1.0, teacher_seconds=5.0, store_seconds=0.5),
    taught(10.5, 1.0, measuring_seconds=0.5, teacher_seconds=5.0, store_seconds=0.5),
    taught(5.0, 0.0, store_seconds=0.25),
    taught(6.0, 0.0, measuring_seconds=1.0),
    taught(50.0, 0.0),
    taught(4.0, 0.0),
)


def write(folder, metrics, **options):
    folder.mkdir(exist_ok=True)
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, metrics)))
    write_cost(folder, CPU, **{"finished": True, "peak": 100.0} | options)
    return read_cost(folder)


def test_a_run_that_filled_a_store_costs_as_one_that_found_it_full():
    assert run_seconds(FILLING) == pytest.approx(8 * 5.0 + (7.0 - 3.0) + 0.5 + 1.0)
    full = rows(*(taught(each, 0.0) for each in (5.0, 5.0, 5.2)))
    full[0]["checking_seconds"] = 4.0
    assert run_seconds(full) == pytest.approx(3 * 5.0 + 4.0)


@pytest.mark.parametrize(
    "row", [{"teacher_ms": 4.0, "teacher_seconds": 3.0}, {"asked": 1.0, "teacher_ms": 4.0}]
)
def test_where_every_epoch_asks_all_count(row):
    every = rows((9.0, row), (8.0, row), (8.0, row))
    every[0] |= {"checking_seconds": 2.0, "checks_teacher_seconds": 1.0}
    assert run_seconds(every) == pytest.approx(3 * 8.0 + 2.0)


def test_epochs_after_the_teaching_count_as_what_they_are():
    stops = rows(taught(9.0, 1.0), taught(5.0, 0.0), (4.0, {}), (4.0, {}), (4.0, {}))
    assert run_seconds(stops) == 2 * 5.0 + 3 * 4.0
    always = rows((9.0, {"teacher_ms": 1.0}), (9.0, {"teacher_ms": 1.0}), (4.0, {}))
    assert run_seconds(always) == 2 * 9.0 + 4.0
    assert run_seconds([]) is None


def test_what_was_asked(tmp_path):
    cost = write(tmp_path / "fills", FILLING, stores=["store/a"])
    assert cost.asked == pytest.approx(4.0)
    assert cost.asking_seconds == pytest.approx(3.0 + 3 * 5.5)
    assert cost.checks_seconds == pytest.approx(5.5)
    assert cost.stores == ("store/a",)
    plain = write(tmp_path / "plain", rows((2.0, {}), (3.0, {})))
    assert (plain.asked, plain.asking_seconds, plain.stores) == (0.0, 0.0, ())


def test_a_resumed_run(tmp_path):
    before = write(tmp_path, rows((9.0, {})), finished=False, peak=300.0, stores=["a"])
    assert not before.finished
    cost = write(tmp_path, rows((9.0, {}), (2.0, {}), (3.0, {})), peak=200.0)
    assert cost[:4] == (True, 3, 3.0, 300.0)
    assert (cost.seconds, cost.stores) == (9.0, ("a",))
    assert read_cost(tmp_path / "none") is None


def test_a_file_of_an_earlier_version(tmp_path):
    old = {
        "finished": True,
        "epochs": 8,
        "seconds_per_epoch": 9.5,
        "peak_mib": 100.0,
        "device": "cpu",
        "threads": 1,
    }
    (tmp_path / "cost.json").write_text(json.dumps(old))
    cost = read_cost(tmp_path)
    assert (cost.seconds, cost.asked, cost.stores) == (8 * 9.5, 0.0, ())
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, FILLING)))
    assert read_cost(tmp_path).seconds == run_seconds(FILLING)
    assert read_cost(tmp_path).asked == pytest.approx(4.0)
