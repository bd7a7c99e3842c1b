"""A run that is stopped, or cannot write, loses nothing."""

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models.pico import PICO
from tests.run.killed_processes import differences
from tests.run.small_runs import interrupted, last, make_data, make_teacher, run, settings
from tutelage.errors import DataError, TrainingError
from tutelage.run.checkpoint import load_checkpoint
from tutelage.run.events import EpochDone, Finished, Planned, StepDone
from tutelage.run.interrupt import RunInterrupted
from tutelage.run.run import run_training

LONG = {"epochs": 3, "batch": 2, "nominal_batch": 4, "patience": 0}  # four batches, two steps


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    teacher = make_teacher(tmp_path_factory.mktemp("teacher") / "t.safetensors")
    methods = [{"name": "mgd", "weight": 0.1}]  # its masks are random
    return {"teacher": teacher, "accept_teacher": True, "methods": methods}


def train(config, do, kind=StepDone, epoch=1, **options):
    """Train, and do something at the first event of a kind in an epoch."""
    done = False
    for event in run_training(config, **options):
        if isinstance(event, kind) and event.epoch == epoch and not done:
            do()
            done = True


def stop_at(config, kind, number=signal.SIGINT):
    """Train, send a signal at an event of the second epoch, and return the run folder."""
    before = set(Path(config.run.project).glob("data-*"))
    with pytest.raises(RunInterrupted):
        train(config, lambda: signal.raise_signal(number), kind)
    [folder] = set(Path(config.run.project).glob("data-*")) - before
    return str(folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_goes_on_exactly_where_it_was(data, taught, tmp_path, number):
    config = settings(data, tmp_path, train=LONG, distill=taught)
    whole = last(run(config), Finished).folder
    before = signal.getsignal(number)
    folder = stop_at(config, StepDone, number)
    assert signal.getsignal(number) is before
    assert load_checkpoint(f"{folder}/last.pt").position == [1, 2]  # the end of an optimizer step
    run(config, resume=folder)
    assert differences(tmp_path / whole, tmp_path / folder) == []


def test_an_evaluation_is_taken_up(data, tmp_path):
    config = settings(data, tmp_path, train=LONG)
    whole = run(config)
    folder = stop_at(config, EpochDone)
    assert load_checkpoint(f"{folder}/last.pt").position == [1, 4]
    rest = run(config, resume=folder)
    assert not [e for e in rest if isinstance(e, StepDone) and e.epoch == 1]
    means = [e.losses for e in whole if isinstance(e, EpochDone)][1:]
    assert [e.losses for e in rest if isinstance(e, EpochDone)] == means
    assert differences(tmp_path / last(whole, Finished).folder, tmp_path / folder) == []


def test_the_second_signal_stops_at_once(data, tmp_path, monkeypatch):
    monkeypatch.setattr("tutelage.run.interrupt.ECHO", 0.0)
    before = signal.getsignal(signal.SIGINT)

    def twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt) as caught:
        train(settings(data, tmp_path, train=LONG), twice, epoch=0)
    assert not isinstance(caught.value, RunInterrupted)
    assert signal.getsignal(signal.SIGINT) is before
    assert not list(tmp_path.glob("*/last.pt"))


def test_a_launcher_may_send_the_signal_too(data, tmp_path):
    def twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(RunInterrupted):
        train(settings(data, tmp_path, train=LONG), twice, epoch=0)


def test_a_run_saves_also_within_an_epoch(data, taught, tmp_path):
    config = settings(data, tmp_path, train={**LONG, "save_minutes": 1e-6}, distill=taught)
    whole = last(run(config), Finished).folder
    folder = interrupted(config, epoch=1, step=4)  # its optimizer steps end at 2 and 4
    assert load_checkpoint(f"{folder}/last.pt").position == [1, 2]
    run(config, resume=folder)
    assert differences(tmp_path / whole, tmp_path / folder) == []


def test_a_run_needs_no_file_that_it_began_with(data, tmp_path):
    weights = tmp_path / "start.safetensors"
    make_teacher(weights)
    config = settings(data, tmp_path, train=LONG, model={"arch": None, "weights": str(weights)})
    folder = interrupted(config)
    weights.unlink()
    rows = dict(last(run(config, resume=folder), Planned).rows)
    assert "start.safetensors" in rows["student"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_leaves_the_last_good_state(data, tmp_path, monkeypatch, number):
    config = settings(data, tmp_path, train=LONG)

    def full(_):
        raise OSError(number, os.strerror(number))

    with pytest.raises(TrainingError, match=r"Its last\.pt is whole, from epoch 1") as caught:
        train(config, lambda: monkeypatch.setattr(os, "fsync", full))
    assert os.strerror(number) in caught.value.what
    [folder] = tmp_path.glob("data-*")
    assert f"tutelage train --resume {folder}" in caught.value.fix
    assert load_checkpoint(folder / "last.pt").position == [1, 0]
    assert not list(folder.glob(".*.tmp"))
    monkeypatch.undo()
    run(config, resume=str(folder))


def test_a_folder_that_vanished_is_told(data, tmp_path):
    config = settings(data, tmp_path, train=LONG)
    with pytest.raises(TrainingError, match=r"The run folder .* is gone"):
        train(config, lambda: shutil.rmtree(next(tmp_path.glob("data-*"))))


def test_a_write_that_the_system_cuts_short(data, tmp_path):
    """A limit on the size of files stands for a full disk: torch writes part of a file."""

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    command = [sys.executable, "-m", "tutelage", "train", "--data", data, "--img-size", "64"]
    command += ["--cfg", str(PICO), "--epochs", "1", "--batch-size", "4"]
    command += ["--project", str(tmp_path), "--name", "x", "--workers", "0", "--device", "cpu"]
    ended = subprocess.run(command, preexec_fn=limited, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "cannot be written: File too large. Nothing was saved yet." in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list((tmp_path / "x").glob("*.pt"))
    assert not list((tmp_path / "x").glob(".*.tmp"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_stops_the_run_in_order(data, tmp_path, number):
    """A terminal and a cluster signal the loader processes, too."""
    command = [sys.executable, "-m", "tutelage", "train", "--data", data, "--img-size", "64"]
    command += ["--cfg", str(PICO), "--epochs", "500", "--batch-size", "2", "--json"]
    command += ["--project", str(tmp_path), "--name", "x", "--workers", "2", "--device", "cpu"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if '"event": "step"' in line:
                break
        os.killpg(process.pid, number)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.count("; saved.") == 1
    assert "Error" not in told
    assert f"tutelage train --resume {tmp_path / 'x'}" in told


def test_data_and_teacher_may_move_but_not_change(data, taught, tmp_path):
    config = settings(data, tmp_path / "runs", train=LONG, distill=taught)
    folder = interrupted(config)
    moved = shutil.copytree(Path(data).parent, tmp_path / "moved")
    yaml = moved / "data.yaml"
    yaml.write_text(yaml.read_text().replace(str(Path(data).parent), str(moved)))
    teacher = shutil.copy(taught["teacher"], tmp_path / "teacher.safetensors")
    elsewhere = config.model_copy(
        update={
            "data": str(yaml),
            "distill": config.distill.model_copy(update={"teacher": str(teacher)}),
        }
    )
    label = sorted((moved / "labels" / "train").iterdir())[0]
    before = label.read_text()
    label.write_text("0 0.5 0.5 0.25 0.25\n")
    with pytest.raises(DataError, match=r"not those with which .* began: train: "):
        run(elsewhere, resume=folder)
    label.write_text(before)
    run(elsewhere, resume=folder)
    assert str(yaml) in (Path(folder) / "config.yaml").read_text()
