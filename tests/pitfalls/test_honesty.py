"""KD-57 to KD-60: what a comparison may claim."""

import torch

from tests.run.small_runs import told
from tests.setup.parts import make_task
from tutelage.cli.demo import outcome_lines
from tutelage.compare import side_by_side
from tutelage.compare.side_by_side import starts
from tutelage.run.events import EpochDone
from tutelage.run.monitors.teacher import distillation_end
from tutelage.teachers.clock import Clocked
from tutelage.train.schedule import Schedule
from tutelage.weights.store import load_header


def test_kd58_the_end_of_distillation_is_told(distilled):
    text = "Distillation ends after epoch 2: the teacher rests from here on."
    assert told(distilled.events).count(text) == 1


def test_kd58_the_end_of_the_run_is_no_end_of_distillation():
    plan = Schedule(epochs=3, steps=4, batch=2)
    assert not any(distillation_end(EpochDone(e, {}, 1.0, 0.01), plan, ["fgd"]) for e in range(3))


def test_kd59_the_teachers_cost_is_logged_while_it_works(distilled):
    for row in distilled.metrics[:2]:
        assert row["teacher_ms"] > 0
        assert row["teacher_gib"] > 0
    assert "teacher_ms" not in distilled.metrics[2]


def test_kd59_time_is_per_step_and_memory_that_of_the_weights(monkeypatch):
    _, teacher = make_task()
    now = iter((0.0, 1.0, 5.0, 8.0))
    monkeypatch.setattr("tutelage.teachers.clock.time.perf_counter", lambda: next(now))
    clocked = Clocked(teacher, torch.device("cpu"))
    images = torch.rand(1, 3, 64, 64)
    assert clocked.take() == {}
    first, _ = clocked(images), clocked(images)
    assert torch.equal(first[0].features[0], teacher(images)[0].features[0])
    size = sum(value.numel() * 4 for _, value in teacher.state()) / 2**30
    assert clocked.take() == {"teacher_ms": 2000.0, "teacher_gib": round(size, 4)}
    assert clocked.take() == {}


def test_kd60_a_comparison_says_how_both_started():
    assert starts("from scratch", "from scratch") == "Both students started from scratch."
    text = starts("from scratch", "coco.pt: 300 of 342 tensors")
    assert "baseline started from scratch, the distilled student from coco.pt: 300 of" in text
    assert "not the teacher's alone" in text
    assert starts("", "from scratch") == ""


def test_kd60_a_run_remembers_how_it_started_and_the_table_ends_with_it(distilled):
    header = load_header(distilled.folder / "best.safetensors")
    assert header["training"]["start"] == "from scratch"
    arm = side_by_side.measured(
        "distilled", distilled.folder, data=distilled.data, split="val", image_size=64
    )
    assert arm.start == "from scratch"
    arms = tuple(arm._replace(title=title) for title in ("teacher", "baseline", "distilled"))
    outcome = side_by_side.concluded(*arms, data=distilled.data, split="val")
    assert outcome_lines(outcome)[-1] == "Both students started from scratch."
