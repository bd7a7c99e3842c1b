"""Each run is trained in a process of its own."""

import multiprocessing
import os
import signal
import threading
from multiprocessing.context import SpawnProcess

import numpy as np
import pytest

from tests.comparison.small_comparisons import DRAWS, plan
from tests.run.small_runs import last
from tutelage.comparison import process as module
from tutelage.comparison.cost import read_cost
from tutelage.comparison.process import train_in_process
from tutelage.comparison.run import ComparisonFinished, RunFailed, RunStarted, run_comparison
from tutelage.errors import TrainingError
from tutelage.run.events import Evaluated, StepDone
from tutelage.run.interrupt import RunInterrupted, RunKilled


def spawned():
    """Return the processes of runs; loader workers of other tests are forked."""
    return [each for each in multiprocessing.active_children() if isinstance(each, SpawnProcess)]


@pytest.mark.slow
def test_a_run_that_is_killed_costs_no_other(world, tmp_path):
    comparison = plan(world, tmp_path)
    events, arm = [], ""
    for event in run_comparison(comparison, draws=DRAWS):
        events.append(event)
        arm = event.arm if isinstance(event, RunStarted) else arm
        if isinstance(event, StepDone) and arm == "baseline":
            [process] = spawned()
            os.kill(process.pid, signal.SIGKILL)
    [failed] = [event for event in events if isinstance(event, RunFailed)]
    assert (failed.arm, "ended by SIGKILL" in failed.message) == ("baseline", True)
    assert list(last(events, ComparisonFinished).failed) == ["baseline-s0"]
    assert (comparison.folder / "fgd-weight1-s0" / "best.safetensors").exists()
    [step] = [e for e in events if isinstance(e, StepDone) and e.losses.distillation][:1]
    assert all(isinstance(value, float) for group in step.losses for value in group.values())


def test_trackers_are_told_the_comparison_and_whether_a_run_goes_on(world, tmp_path, monkeypatch):
    told = []

    def with_trackers(events, config, **more):
        told.append(more)
        yield from ()

    monkeypatch.setattr(module, "with_trackers", with_trackers)
    run = plan(world, tmp_path).runs()[0]
    for resume in (None, str(run.folder)):
        module._train(None, run, {"resume": resume})
    group = run.folder.parent.name
    assert told == [{"resumed": each, "group": group} for each in (False, True)]


def signal_at_steps(run, number):
    for event in train_in_process(run, origins={}):
        if isinstance(event, StepDone):
            os.kill(os.getpid(), number)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_passed_on_and_the_run_is_saved(world, tmp_path, number):
    run = plan(world, tmp_path, train={"epochs": 12}).runs()[0]
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    ballast = np.ones(150_000_000)  # the peak of memory is that of the run's process alone
    with pytest.raises(RunInterrupted) as caught:
        signal_at_steps(run, number)
    assert caught.value.by == number
    assert caught.value.position.epoch < 11
    assert handlers == [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    assert not spawned()
    cost = read_cost(run.folder)
    assert (cost.finished, cost.epochs) == (False, caught.value.position.epoch)
    assert 50 < cost.peak_mib < ballast.nbytes / 2**20
    resumed = train_in_process(run, origins={}, resume=True)
    epochs = [event.epoch for event in resumed if isinstance(event, Evaluated)]
    assert epochs[0] == caught.value.position.epoch
    assert epochs[-1] == 11


@pytest.mark.slow
def test_a_signal_while_the_process_starts(world, tmp_path, capfd):
    run = plan(world, tmp_path).runs()[0]
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(RunKilled) as caught:
        list(train_in_process(run, origins={}))
    assert not isinstance(caught.value, RunInterrupted)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.slow
def test_closing_the_generator_ends_the_process(world, tmp_path):
    run = plan(world, tmp_path, train={"epochs": 12}).runs()[0]
    events = train_in_process(run, origins={})
    while not isinstance(next(events), StepDone):
        pass
    [process] = spawned()
    events.close()
    assert process.exitcode == 0
    assert not (run.folder / "best.safetensors").exists()


def test_a_bug_leaves_its_traceback(world, tmp_path):
    run = plan(world, tmp_path).runs()[0]
    broken = run._replace(config=run.config.model_copy(update={"optim": None}))
    with pytest.raises(TrainingError, match="AttributeError: 'NoneType'"):
        list(train_in_process(broken, origins={}))
    assert "run_training" in (run.folder / "crash.txt").read_text()
