"""Trackio on this machine: what its database holds."""

import json
import sys

import pytest

from tests.trackers.small_events import events, follow, run_folder
from tutelage.run.events import Notice

trackio = pytest.importorskip("trackio", reason="pip install 'tutelage[trackio]'")


@pytest.fixture
def storage(tmp_path, monkeypatch):
    """Its database in the folder of the test: the place is read when the package is imported."""
    from trackio import sqlite_storage

    for name in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)
    places = {"TRACKIO_DIR": "", "MEDIA_DIR": "media", "ARTIFACTS_DIR": "artifacts"}
    modules = [each for name, each in sys.modules.items() if name.startswith("trackio")]
    for module in modules:
        for name, place in places.items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, tmp_path / "trackio" / place)
    return sqlite_storage.SQLiteStorage


def curve(storage, run, name):
    return [(row["step"], row[name]) for row in storage.get_logs("tutelage", run) if name in row]


def test_a_run_on_this_machine(tmp_path, storage, capfd):
    folder = run_folder(tmp_path, "fgd-s0")
    out = follow(["trackio"], events(folder), group="compare-d")
    assert [event.text for event in out if isinstance(event, Notice)] == ["Report"]
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
    [run] = storage.get_runs("tutelage")
    assert run.startswith("fgd-s0-")
    settings = storage.get_run_config("tutelage", run)
    assert (settings["train.epochs"], settings["_Group"]) == (100, "compare-d")
    assert curve(storage, run, "val/AP") == [(1, 0.4), (2, 0.41)]
    assert curve(storage, run, "step/loss/box") == [(1, 0.5), (11, 1.5)]
    assert [step for step, _ in curve(storage, run, "samples/val_found")] == [1, 2]
    assert len([*(tmp_path / "trackio/media").rglob("*.jpg")]) == 5


def test_a_stopped_run_goes_on_in_the_same_run(tmp_path, storage):
    folder = run_folder(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        follow(["trackio"], events(folder, stop=KeyboardInterrupt()))
    other = run_folder(tmp_path / "elsewhere")  # of the same name, later
    follow(["trackio"], events(other, 1))
    follow(["trackio"], events(folder, 3, first=1), resumed=True)
    name = json.loads((folder / "trackers.json").read_text())["trackio"]["name"]
    assert len(storage.get_runs("tutelage")) == 2
    assert curve(storage, name, "val/AP") == [(1, 0.4), (2, 0.41), (3, 0.42)]


def test_nobody_is_asked_who_the_user_is(tmp_path, storage, monkeypatch):
    def ask():
        pytest.fail("huggingface.co was asked")

    monkeypatch.setattr("trackio.run._get_default_namespace", ask)
    follow(["trackio"], events(run_folder(tmp_path)))
    [run] = storage.get_runs("tutelage")
    assert storage.get_run_config("tutelage", run)["_Username"] is None
