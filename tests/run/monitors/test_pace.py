"""How long an epoch will take on a machine without a GPU, told after ten steps."""

import pytest
import torch

from tutelage.run.events import EpochDone, Evaluated, Notice, StepDone
from tutelage.run.monitors.pace import PaceMonitor
from tutelage.structures import Losses

CPU = torch.device("cpu")


def notices(step_seconds, steps, wanted="auto", device=CPU, epochs=2):
    """Return what is told in a run whose first step and evaluations take ten minutes."""
    time, told = 0.0, []
    pace = PaceMonitor(wanted, device, steps, now=lambda: time)
    for epoch in range(epochs):
        for step in range(1, steps + 1):
            time += 600 if step == 1 else step_seconds
            event = StepDone(epoch, step, Losses({}, {}), 0.1, None)
            if (notice := pace.check(event)) is not None:
                told.append((epoch, step, notice))
        for event in (EpochDone(epoch, {}, 1.0, 0.1), Evaluated(epoch, {}, False)):
            time += 300
            assert pace.check(event) is None
    return told


def test_it_is_told_once_after_ten_steps_of_steady_work():
    text = "No GPU found; training on CPU: about 40 min per epoch at this size."
    assert notices(12, 200) == [(0, 11, Notice("warning", text, "C18"))]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.31, "about 1 min"), (29.8, "about 99 min"), (30, "about 2 h"), (180, "about 10 h")],
)
def test_the_time_is_in_round_words(seconds, words):
    assert f"{words} per epoch" in notices(seconds, 200)[0][2].text


def test_short_epochs_are_measured_over_several_and_without_what_lies_between():
    [(epoch, step, notice)] = notices(20, 6, epochs=3)
    assert (epoch, step) == (1, 6)
    assert "about 2 min" in notice.text


@pytest.mark.parametrize(
    "given",
    [
        {"step_seconds": 0.29},  # under a minute
        {"step_seconds": 12, "wanted": "cpu"},
        {"step_seconds": 12, "device": torch.device("cuda")},
    ],
)
def test_nothing_is_told_where_nobody_need_know(given):
    assert notices(steps=200, **given) == []
