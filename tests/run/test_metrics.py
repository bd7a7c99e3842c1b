"""Means of losses, and metrics.jsonl."""

import csv
import json

import pytest
import torch

from tutelage.run.checkpoint import LossSums
from tutelage.run.metrics import LossMeans, MetricsFile
from tutelage.structures import Losses


def losses(box=1.0, kd=2.0):
    return Losses({"box": torch.tensor(box)}, {"fgd/relation": torch.tensor(kd)})


def test_means_are_per_term_and_start_anew():
    means = LossMeans()
    means.add(losses(1.0, 4.0))
    means.add(losses(3.0, 4.0))
    assert means.take() == {"box": 2.0, "fgd/relation": 4.0}
    means.add(losses(5.0))
    assert means.take()["box"] == 5.0


def test_kd_share():
    means = LossMeans()
    means.add(losses(1.0, 3.0))
    assert means.kd_share(lambda _: 1.0) == pytest.approx(0.75)


def test_the_share_is_not_read_off_the_device_at_every_step_when_kd_rests():
    means = LossMeans()
    means.add(losses(1.0, 3.0))
    assert means.kd_share(lambda _: 0.0) == 0
    means.add(losses(1.0, 3.0))
    assert means.kd_share(lambda _: 1.0) == 0  # the value of ten steps ago, zero or not


def test_processes_may_hold_other_terms_in_another_order():
    means = LossMeans()
    means.add(losses(1.0, 4.0))
    means.add(Losses({"box": torch.tensor(3.0)}, {}))
    other = {"off": 0.0, "fgd/relation": 6.0, "box": 4.0}
    found = means.take(lambda here: [*here, other])
    assert found == {"box": 3.0, "fgd/relation": 4.0, "off": 0.0}  # silent in a step: 0 there


@pytest.mark.parametrize("first", [1, 0], ids=["from 1", "as an earlier version: from 0"])
def test_metrics_go_on_after_the_epochs_that_were_saved(tmp_path, first):
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"epoch": first + number, "APl": None}) for number in range(3)]
    path.write_text("\n".join(lines) + "\n")
    MetricsFile(path, keep_epochs=2).append(2, {"APl": 0.5})
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [first, first + 1, first + 2]
    assert [row["APl"] for row in rows] == [None, None, 0.5]


def test_epochs_count_from_one(tmp_path):
    path = tmp_path / "metrics.jsonl"
    first = MetricsFile(path)
    for epoch in range(2):
        first.append(epoch, {"APl": float("nan")})
    assert path.read_text() == '{"epoch": 1, "APl": null}\n{"epoch": 2, "APl": null}\n'
    MetricsFile(path)
    assert path.read_text() == ""


def test_the_same_as_a_table(tmp_path):
    file = MetricsFile(tmp_path / "metrics.jsonl")
    file.append(0, {"box": 0.5, "kd_weights": {"fgd": 2.0}, "APl": float("nan")})
    file.append(1, {"box": 0.25, "AP": 0.125, "kd_weights": {"fgd": 3.0}})
    with (tmp_path / "metrics.csv").open() as table:
        first, second = csv.DictReader(table)
    assert list(first) == ["epoch", "box", "kd_weights/fgd", "APl", "AP"]
    assert list(first.values()) == ["1", "0.5", "2.0", "", ""]
    assert list(second.values()) == ["2", "0.25", "3.0", "", "0.125"]


def test_half_a_line_and_a_repeated_epoch_are_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 1}\n{"epoch": 2, "a": 1}\n{"epoch": 2, "a": 2}\n{"epo')
    MetricsFile(path, keep_epochs=3).append(2, {})
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows == [{"epoch": 1}, {"epoch": 2, "a": 2}, {"epoch": 3}]


def test_distillation_is_the_mean_of_the_steps_that_were_taught():
    means = LossMeans()
    means.add(losses(1.0, 4.0), taught=True)
    means.add(Losses({"box": torch.tensor(3.0)}, {}), taught=False)
    again = LossMeans()
    again.restore(means.state())
    again.add(losses(5.0, 8.0), taught=True)
    assert again.take() == {"box": 3.0, "fgd/relation": 6.0}


def test_the_share_is_that_of_taught_steps():
    means = LossMeans()
    for step in range(40):
        taught = step % 3 == 0
        means.add(losses(1.0, 3.0) if taught else Losses(losses()[0], {}), taught=taught)
        assert means.kd_share(lambda _: 1.0) == pytest.approx(0.75)


def test_states_of_earlier_versions_were_taught_at_every_step():
    means = LossMeans()
    means.restore(LossSums(steps=2, sums={"fgd/relation": torch.tensor(4.0)}))
    assert means.take() == {"fgd/relation": 2.0}
