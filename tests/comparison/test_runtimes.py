"""One way to run the teachers for all runs of a comparison."""

import pytest

from tests.comparison.small_comparisons import plan
from tutelage.comparison import runtimes
from tutelage.comparison.arms import plan_comparison
from tutelage.comparison.runtimes import common_runtime
from tutelage.run.events import Stage


@pytest.fixture
def measured(monkeypatch):
    """Which runtimes are found, by the moment, for each teacher."""
    found = iter([["bf16", "bf16"], ["openvino", "torch"], ["torch", "torch"]])

    def choose(parts, batches):
        assert len(batches) > 0
        yield Stage("timing the teacher")
        for teacher, name in zip(parts.distillation.teachers.teachers, next(found), strict=False):
            teacher.runtime = name

    monkeypatch.setattr(runtimes, "choose_runtimes", choose)


def comparison(world, folder, runtime, teachers=1):
    config = plan(world, folder, methods=("bckd:weight=1",)).config
    changes = {"teacher_runtime": runtime, "teacher": [world[1]] * teachers}
    distill = config.distill.model_copy(update=changes)
    return plan_comparison(
        config.model_copy(update={"distill": distill}), methods=["bckd:weight=1", "box:weight=1"]
    )


def result(asked, stored=None):
    events, found = [], []

    def run():
        found.append((yield from common_runtime(asked, stored or {}, {})))

    events.extend(run())
    return found[0], len(events)


def test_it_is_measured_once_and_kept(world, tmp_path, measured):
    asked = comparison(world, tmp_path, "auto")
    assert result(asked) == ("bf16", 1)
    assert result(asked, {"teacher_runtime": "openvino"}) == ("openvino", 0)
    assert result(comparison(world, tmp_path, "openvino-int8")) == ("openvino-int8", 0)
    settled = asked.with_runtime("bf16")
    assert {
        run.arm.name: run.config.distill.teacher_runtime for run in settled.runs() if run.seed == 0
    } == {"baseline": "torch", "bckd-weight1": "bf16", "box-weight1": "bf16"}
    assert asked.arms[1].config.distill.teacher_runtime == "auto"


def test_teachers_that_differ_are_run_by_torch(world, tmp_path, measured):
    asked = comparison(world, tmp_path, "auto", teachers=2)
    assert result(asked) == ("bf16", 1)
    assert result(asked) == ("torch", 1)
