"""W&B in offline mode: what its own files hold."""

import struct
import time
from importlib.util import find_spec

import pytest

from tests.trackers.small_events import events, follow, run_folder
from tutelage.errors import ConfigError
from tutelage.run.events import Notice
from tutelage.trackers import check_trackers

pytestmark = pytest.mark.skipif(
    find_spec("wandb") is None, reason="needs pip install 'tutelage[wandb]'"
)
BLOCK, FIRST, LAST = 2**15, (1, 2), (1, 4)  # of the log files of LevelDB, which W&B writes


@pytest.fixture
def offline(tmp_path, monkeypatch):
    for name in ("WANDB_PROJECT", "WANDB_DIR", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HOME", str(tmp_path))  # without credentials of the user
    monkeypatch.chdir(tmp_path)
    return tmp_path


def records(folder):
    """Return all records of the files that W&B wrote below a folder, in order.

    Its process may still write when ``finish`` returns: the last record of a run is its exit.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    until = time.monotonic() + 60
    while True:
        files = sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))
        found = [Record.FromString(data) for path in files for data in entries(path.read_bytes())]
        if len(kinds(found, "exit")) >= len(files) or time.monotonic() > until:
            return found
        time.sleep(0.2)


def entries(content):
    """Yield the entries of a log file: a head of 7 bytes, then parts within blocks."""
    assert content.startswith(b":W&B")
    place, data = 7, b""
    while place + 7 <= len(content):
        if (left := BLOCK - place % BLOCK) < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        part = content[place + 7 : place + 7 + length]
        data = part if kind in FIRST else data + part
        place += 7 + length
        if kind in LAST:
            yield data


def kinds(found, kind):
    return [getattr(each, kind) for each in found if each.WhichOneof("record_type") == kind]


def name_of(item):
    return item.key or "/".join(item.nested_key)


def curve(found, name, axis):
    """Return pairs of an axis and a value."""
    pairs = []
    for history in kinds(found, "history"):
        row = {name_of(each): each.value_json for each in history.item}
        if name in row:
            pairs.append((int(row[axis]), float(row[name])))
    return pairs


def test_a_run_offline(offline, capfd):
    folder = run_folder(offline, "fgd-s0")
    out = follow(["wandb"], events(folder), group="compare-d")
    assert [event.text for event in out if isinstance(event, Notice)] == ["Report"]
    found = records(offline)
    [run] = kinds(found, "run")
    assert (run.project, run.display_name, run.run_group) == ("tutelage", "fgd-s0", "compare-d")
    settings = {each.key: each.value_json for each in run.config.update}
    assert settings["train.epochs"] == "100"
    assert curve(found, "loss/box", "epoch") == [(1, 0.5), (2, 1.5)]
    assert curve(found, "val/AP", "epoch") == [(1, 0.4), (2, 0.41)]
    assert curve(found, "step/kd/fgd/relation", "step") == [(1, 2.0), (11, 2.0)]
    assert [each.exit_code for each in kinds(found, "exit")] == [0]
    [artifact] = kinds(found, "artifact")
    assert (artifact.name, artifact.type) == ("fgd-s0-report", "report")
    axes = {each.glob_name or each.name: each.step_metric for each in kinds(found, "metric")}
    assert (axes["step/*"], axes["val/*"], axes["lr"]) == ("step", "epoch", "epoch")
    logged = {key for row in kinds(found, "history") for key in map(name_of, row.item)}
    drawn = {name.removesuffix("*") for name in axes}
    assert {key for key in logged if not key.startswith(("_", *drawn))} == set()
    pictures = {path.name.rpartition("_")[0] for path in offline.rglob("samples/*.jpg")}
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
    assert pictures


def test_nothing_that_was_not_asked_for(offline):
    follow(["wandb"], events(run_folder(offline)))
    found = records(offline)
    [run] = kinds(found, "run")
    assert (run.host, run.git.remote_url, run.git.commit) == ("", "", "")
    for kind in ("stats", "output", "output_raw", "environment"):
        assert kinds(found, kind) == []
    names = {path.name for path in offline.glob("wandb/offline-run-*/files/**/*")}
    assert names.isdisjoint({"wandb-metadata.json", "requirements.txt", "output.log", "diff.patch"})
    [file] = offline.glob("wandb/offline-run-*/run-*.wandb")
    content = file.read_bytes()
    assert b"pytest" not in content.replace(str(offline).encode(), b"")  # the command line


def test_a_stopped_run_goes_on_under_the_same_id(offline):
    folder = run_folder(offline)
    with pytest.raises(KeyboardInterrupt):
        follow(["wandb"], events(folder, stop=KeyboardInterrupt()))
    assert [each.exit_code for each in kinds(records(offline), "exit")] == [255]
    follow(["wandb"], events(folder, 3, first=1), resumed=True)
    found = records(offline)
    assert len({run.run_id for run in kinds(found, "run")}) == 1
    assert len(kinds(found, "run")) == 2
    assert sorted(curve(found, "val/AP", "epoch")) == [(1, 0.4), (2, 0.41), (3, 0.42)]


def test_a_run_of_the_process_itself_stays_as_it_is(offline):
    import wandb

    with wandb.init(project="mine", dir=offline, settings=wandb.Settings(silent=True)) as own:
        follow(["wandb"], events(run_folder(offline)))
        own.log({"a": 1})
        assert wandb.run is own
    assert sorted(run.project for run in kinds(records(offline), "run")) == ["mine", "tutelage"]


def test_without_credentials_nobody_is_asked_for_them(offline, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    with pytest.raises(ConfigError, match="no API key") as told:
        check_trackers(["wandb"])
    assert (told.value.code, "wandb login" in told.value.fix) == ("C39", True)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    check_trackers(["wandb"])
