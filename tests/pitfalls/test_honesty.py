"""KD-57 to KD-60: what a comparison may claim."""

import pytest
import torch

from tests.run.small_runs import told
from tests.setup.small_tasks import make_batch, make_task
from tutelage.cli.demo import result_lines
from tutelage.demo import DemoResult, starts
from tutelage.evaluation import Difference
from tutelage.run.events import EpochDone
from tutelage.run.monitors.teacher import distillation_end
from tutelage.training.schedule import Schedule, WeightSchedule
from tutelage.weights.store import load_header


def test_kd58_the_end_of_distillation_is_told(distilled):
    text = "Distillation ends after epoch 2: the teacher rests from here on."
    assert told(distilled.events).count(text) == 1


@pytest.mark.parametrize(("stop", "epoch"), [(None, None), (3, None), (2, 1)])
def test_kd58_the_end_of_the_run_is_no_end_of_distillation(stop, epoch):
    weights = {"fgd": WeightSchedule(stop_epoch=stop)}
    schedule = Schedule(epochs=3, steps=4, batch=2, weight_schedules=weights)
    events = [EpochDone(epoch, {}, 1.0, 0.01) for epoch in range(3)]
    ends = [event.epoch for event in events if distillation_end(event, schedule, ["fgd"])]
    assert ends == ([] if epoch is None else [epoch])


def test_kd59_the_teachers_cost_is_logged_while_it_works(distilled):
    for row in distilled.metrics[:2]:
        assert row["teacher_ms"] > 0
        assert row["teacher_gib"] > 0
    assert "teacher_ms" not in distilled.metrics[2]


def test_kd59_time_is_per_step_and_memory_that_of_the_weights(monkeypatch):
    _, teacher = make_task()
    now = iter((0.0, 1.0, 5.0, 8.0))
    monkeypatch.setattr("tutelage.teachers.timer.time.perf_counter", lambda: next(now))
    timed, batch = teacher.timed(), make_batch(images=1)
    assert timed.take_cost() == {}
    first, _ = timed(batch), timed(batch)
    assert torch.equal(first[0].features[0], teacher(batch)[0].features[0])
    size = sum(value.numel() * 4 for _, value in teacher.state()) / 2**30
    assert timed.take_cost() == {
        "teacher_ms": 2000.0,
        "teacher_seconds": 4.0,
        "teacher_gib": round(size, 4),
    }
    assert timed.take_cost() == {}


def test_kd60_a_comparison_says_how_both_started():
    assert starts("from scratch", "from scratch") == "Both students started from scratch."
    text = starts("from scratch", "coco.pt: 300 of 342 tensors")
    assert "baseline started from scratch, the distilled student from coco.pt: 300 of" in text
    assert "not due to the teacher alone" in text
    result = DemoResult(
        (), Difference(0.1, 0.05, 0.15, 0.01), "It helped.", None, text, 1.0, "runs/demo"
    )
    assert result_lines(result)[-2:] == ["It helped.", text]


def test_kd60_a_run_remembers_how_it_started(distilled):
    header = load_header(distilled.folder / "best.safetensors")
    assert header["training"]["start"] == "from scratch"
