"""Events on their way past trackers: what these get, and that nothing they do harms the run."""

import json
import threading

import pytest

from tests.trackers.small_events import BEST, Recorder, config, events, follow, run_folder
from tutelage.errors import ConfigError, MissingExtraError
from tutelage.run.events import Evaluated, Finished, Notice, Planned, Stage
from tutelage.run.interrupt import RunInterrupted
from tutelage.trackers import follow as module
from tutelage.trackers import with_trackers
from tutelage.trackers.background import BACKLOG
from tutelage.training.schedule import Position


@pytest.fixture
def given(monkeypatch):
    """Let trackers of these names be those of a test."""
    trackers = {}

    def make(names):
        return {name: trackers[name] for name in names}

    monkeypatch.setattr(module, "make_trackers", make)
    return trackers


@pytest.fixture
def recorder(given):
    given["mlflow"] = Recorder()
    return given["mlflow"]


def told(out):
    return [event for event in out if isinstance(event, Notice) and event.text != "Report"]


def test_every_value_has_its_name_and_place(tmp_path, recorder):
    folder = run_folder(tmp_path)
    out = follow(["mlflow"], events(folder))
    assert [type(each) for each in out[:2]] == [Stage, Planned]
    assert [each for each in out if not isinstance(each, Stage)] == list(events(folder))
    assert recorder.values == {
        "step/loss/box": [(1, 0.5), (11, 1.5)],
        "step/loss/obj": [(1, 0.25), (11, 0.25)],
        "step/kd/fgd/relation": [(1, 2.0), (11, 2.0)],
        "step/lr": [(1, 0.01), (11, 0.01)],
        "step/kd_share": [(1, 0.4), (11, 0.4)],
        "loss/box": [(1, 0.5), (2, 1.5)],
        "kd/fgd/relation": [(1, 2.0), (2, 2.0)],
        "lr": [(1, 0.01), (2, 0.009)],
        "seconds": [(1, 5.0), (2, 5.0)],
        "kd_weight/fgd": [(1, 0.75), (2, 0.75)],
        "kd_factor/fgd": [(1, 1.0), (2, 1.0)],
        "kd_ratio/fgd": [(1, 0.5), (2, 0.5)],
        "teacher/seconds": [(1, 1.0), (2, 1.0)],
        "teacher/gib": [(1, 0.5), (2, 0.5)],
        "teacher/asked": [(1, 1.0), (2, 1.0)],
        "teacher/share": [(1, 0.25), (2, 0.25)],
        "val/AP": [(1, 0.4), (2, 0.41)],
        "val/AP50": [(1, 0.77), (2, 0.77)],
        "best/AP": [(2, BEST["AP"])],
        "best/AP50": [(2, BEST["AP50"])],
        "best/epoch": [(2, 2.0)],
        "total/seconds": [(2, 60.0)],
        "total/teacher_seconds": [(2, 2.0)],
        "total/extra_seconds": [(2, 3.0)],
        "total/teacher_share": [(2, 0.1)],
    }
    assert recorder.named("log_file") == [("report.html",)]
    assert recorder.calls[-1] == ("finish", "finished")


def test_pictures_are_those_of_their_epoch(tmp_path, recorder):
    follow(["mlflow"], events(run_folder(tmp_path)))
    logged = recorder.named("log_images")
    names = [(sorted(images), epoch) for images, epoch in logged]
    both = ["samples/val_found", "samples/val_labels"]
    assert names == [(["samples/train_batch0"], 1), (both, 1), (both, 2)]
    assert logged[1][0]["samples/val_found"] != logged[2][0]["samples/val_found"]
    assert logged[1][0]["samples/val_found"].startswith(b"\xff\xd8")


def test_settings_and_identity(tmp_path, recorder):
    folder = run_folder(tmp_path, "fgd-s0")
    follow(["mlflow"], events(folder), group="compare-d")
    [(run, stored)] = recorder.named("start")
    assert (run.name, run.group, run.resumed, stored) == ("fgd-s0", "compare-d", False, {})
    assert run.settings["train.epochs"] == 100
    assert run.settings["data"] == "d.yaml"
    assert run.settings["distill.teacher"] == "none"
    assert json.loads(run.settings["distill.methods"])[0]["name"] == "auto"
    assert all(isinstance(value, bool | int | float | str) for value in run.settings.values())
    assert json.loads((folder / "trackers.json").read_text()) == {"mlflow": {"id": "abc"}}


def test_a_resumed_run_goes_on_and_a_new_one_in_its_folder_does_not(tmp_path, given):
    folder = run_folder(tmp_path)
    for number, resumed in enumerate((False, True, False)):
        given["mlflow"] = recorder = Recorder()
        follow(["mlflow"], events(folder, first=number % 2), resumed=resumed)
        assert recorder.named("start")[0][1] == ({"id": "abc"} if resumed else {})
        sent = [name for images, _ in recorder.named("log_images") for name in images]
        assert ("samples/train_batch0" in sent) != resumed


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (RunInterrupted(Position(1, 1)), "stopped"),
        (KeyboardInterrupt(), "stopped"),
        (ConfigError("no"), "failed"),
        (RuntimeError("a bug"), "failed"),
    ],
)
def test_a_run_that_ends_early(tmp_path, recorder, error, ending):
    with pytest.raises(type(error)):
        follow(["mlflow"], events(run_folder(tmp_path), stop=error))
    assert recorder.calls[-1] == ("finish", ending)
    assert recorder.values["step/loss/box"] == [(1, 0.5), (11, 1.5)]


def test_a_consumer_that_leaves_stops_the_run(tmp_path, recorder):
    source = with_trackers(events(run_folder(tmp_path)), config("mlflow"))
    for _ in range(4):
        next(source)
    source.close()
    assert recorder.calls[-1] == ("finish", "stopped")


def test_steps_are_logged_every_ten_steps_and_five_seconds(tmp_path, recorder):
    folder = run_folder(tmp_path)
    seconds = iter(range(1000))
    list(with_trackers(events(folder, 5), config("mlflow"), now=lambda: next(seconds)))
    assert [step for step, _ in recorder.values["step/lr"]] == [1, 11, 21, 31, 41]
    recorder.values.clear()
    slow = iter(x / 4 for x in range(1000))
    list(with_trackers(events(folder, 5), config("mlflow"), now=lambda: next(slow)))
    assert [step for step, _ in recorder.values["step/lr"]] == [1, 21, 41]


class Full(Recorder):
    """A tracker whose disk is full from the third value on."""

    def log(self, values, step):
        if len(self.named("log")) >= 3:
            raise OSError(28, "No space left on device")
        super().log(values, step)


def test_a_full_disk_warns_once(tmp_path, given):
    given["mlflow"], given["wandb"] = Full(), Recorder()
    folder = run_folder(tmp_path)
    out = follow(["mlflow", "wandb"], events(folder))
    warning, lost = told(out)
    assert (warning.level, warning.code) == ("warning", "R41")
    assert warning.text.startswith("mlflow does not get all of this run: [Errno 28] No space left")
    assert (lost.level, lost.text) == ("info", "mlflow: 4 entries could not be written")
    kept = [each for each in out if not isinstance(each, Notice | Stage)]
    assert kept == [each for each in events(folder) if not isinstance(each, Notice)]
    assert len(given["wandb"].named("log")) == 7
    assert given["mlflow"].calls[-1] == ("finish", "finished")


class Late(Recorder):
    """A tracker whose server answers at the third attempt."""

    attempts = 0

    def start(self, run, stored):
        self.attempts += 1
        if self.attempts < 3:
            raise ConnectionError("http://me:secret@server refuses\nTraceback")
        return super().start(run, stored)


def test_a_server_that_comes_back_gets_the_rest(tmp_path, given):
    given["mlflow"] = Late()
    warning, lost = told(follow(["mlflow"], events(run_folder(tmp_path))))
    assert warning.text.endswith("http://***@server refuses")
    assert lost.text == "mlflow: 1 entries could not be written"
    assert [step for step, _ in given["mlflow"].values["val/AP"]] == [1, 2]
    assert given["mlflow"].calls[-1] == ("finish", "finished")


@pytest.mark.parametrize("error", [SystemExit(1), ValueError(), MemoryError("much")])
def test_whatever_a_package_raises(tmp_path, given, error):
    class Broken(Recorder):
        def start(self, run, stored):
            raise error

    given["mlflow"] = Broken()
    out = follow(["mlflow"], events(run_folder(tmp_path)))
    assert isinstance(out[-1], Finished)
    assert [each.level for each in told(out)] == ["warning", "info"]


class Slow(Recorder):
    """A tracker that takes its time until the run has ended."""

    def __init__(self):
        super().__init__()
        self.go_on = threading.Event()

    def log(self, values, step):
        self.go_on.wait(60)
        super().log(values, step)


def test_a_slow_tracker_costs_steps_and_never_epochs(tmp_path, given):
    given["mlflow"] = slow = Slow()
    epochs, out = 3 * BACKLOG, []
    for event in with_trackers(events(run_folder(tmp_path), epochs), config("mlflow"), now=clock()):
        out.append(event)
        if isinstance(event, Evaluated) and event.epoch == epochs - 1:
            assert len(slow.named("log")) == 0  # the whole run went by
            slow.go_on.set()
    assert isinstance(out[-1], Finished)
    assert [step for step, _ in slow.values["val/AP"]] == [*range(1, epochs + 1)]
    assert [step for step, _ in slow.values["loss/box"]] == [*range(1, epochs + 1)]
    kept = len(slow.values["step/lr"]) + len(slow.named("log_images"))
    assert kept < BACKLOG
    [notice] = told(out)
    assert notice.level == "info"
    assert f"mlflow: {2 * epochs + 1 - kept} entries (steps, pictures) were left out" in notice.text


def clock():
    seconds = iter(range(0, 10**9, 10))
    return lambda: next(seconds)


def test_a_tracker_that_hangs_is_left(tmp_path, given, monkeypatch):
    monkeypatch.setattr(module, "END", 0.01)
    monkeypatch.setattr(module, "SHORT", 0.01)
    given["mlflow"] = slow = Slow()
    out = follow(["mlflow"], events(run_folder(tmp_path)))
    assert Stage("sending the rest to mlflow") in out
    assert isinstance(out[-1], Finished)
    [notice] = told(out)
    assert "entries could not be sent within 0.01 seconds" in notice.text
    slow.go_on.set()


def test_losses_are_read_in_the_thread_of_the_tracker(tmp_path, recorder):
    follow(["mlflow"], events(run_folder(tmp_path)))
    [thread] = recorder.threads
    assert thread is not threading.main_thread()
    assert thread.daemon


def test_only_the_first_process_tracks(tmp_path, recorder, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert follow(["mlflow"], iter([1, 2])) == [1, 2]
    assert recorder.calls == []


def test_nothing_is_tracked_unasked(tmp_path, recorder):
    folder = run_folder(tmp_path)
    assert follow([], events(folder)) == list(events(folder))
    assert not (folder / "trackers.json").exists()


def test_a_missing_package_names_its_install_command(monkeypatch):
    monkeypatch.setattr("tutelage.optional_packages.find_spec", lambda name: None)

    def source():
        pytest.fail("something was trained")
        yield

    for dry_run in (False, True):
        with pytest.raises(MissingExtraError, match="MLflow and Trackio are not installed") as told:
            list(with_trackers(source(), config("mlflow", "trackio"), dry_run=dry_run))
        assert told.value.fix == "pip install 'tutelage[mlflow,trackio]'"
