"""Filling the stores of a run ahead: what a run asks, once, by any number of processes."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.data.write_dataset import make_scenes
from tests.run.small_runs import make_data, make_teacher, run, settings
from tutelage.config.schema import Config
from tutelage.errors import ConfigError, TeacherError
from tutelage.run import claimed_batches
from tutelage.run.interrupt import RunInterrupted
from tutelage.run.teach import TeachFinished, TeachPlanned, TeachProgress, fill_stores
from tutelage.store import shard
from tutelage.store.records import RecordWriter
from tutelage.teachers.stored import StoredTeachers


@pytest.fixture
def base(tmp_path, monkeypatch):
    """Return a function that makes the settings of a distilled run of eight images."""
    monkeypatch.setattr(claimed_batches, "CHUNK", 4)
    data, teacher = make_data(tmp_path / "data"), make_teacher(tmp_path / "t.safetensors")

    def make(methods=("bckd",), distill=None, **changes):
        train = {"epochs": 3, "batch": 2} | changes.pop("train", {})
        distill = {
            "teacher": teacher,
            "methods": [{"name": name, "weight": 1.0} for name in methods],
            "accept_teacher": True,
            "store": str(tmp_path / "store"),
        } | (distill or {})
        return settings(data, tmp_path / "runs", train=train, distill=distill, **changes)

    return make


def fill(config) -> TeachFinished:
    *_, end = fill_stores(config)
    return end


def records(config) -> Counter:
    """Count the records in all stores by folder, view and image."""
    found: Counter = Counter()
    for index in Path(config.distill.store).glob("*/*.index"):
        for row in shard.read_rows(index, 0)[0]:
            found[index.parent.name, int(row["view"]), int(row["image"])] += 1
    return found


def asked(folder: str | Path) -> list[float]:
    rows = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    return [row["asked"] for row in rows if "asked" in row]


@pytest.mark.parametrize("kind", ["unlabelled", "few unlabelled", "stop", "rect"])
def test_a_run_asks_nothing_after_it(base, tmp_path, kind) -> None:
    make_scenes(tmp_path / "more", 7)
    config = {
        "unlabelled": lambda: base(
            distill={"images": str(tmp_path / "more"), "images_ratio": 0.5},
            augment={"close_mosaic": 1},
        ),
        "few unlabelled": lambda: base(
            distill={"images": str(tmp_path / "more"), "images_ratio": 0.5}, train={"batch": 8}
        ),
        "stop": lambda: base(distill={"stop_epoch": 1, "warmup_epochs": 0}),
        "rect": lambda: base(("fgd",), train={"rect": True}),
    }[kind]()
    end = fill(config)
    before = records(config)
    assert (end.asked, end.before, end.unreadable) == (end.total, 0, 0)
    assert set(before.values()) == {1}
    assert len(before) == end.total
    assert end.total == {"stop": 8, "few unlabelled": 24 + 12}.get(kind, end.total)
    taught = {"stop": 1}.get(kind, 3)
    assert asked(run(config)[-1].folder) == [0.0] * taught
    assert records(config) == before


def test_a_run_without_the_teachers_file(base, tmp_path) -> None:
    config = base(("bckd", "fgd"))
    fill(config)
    whole = run(config)[-1].folder
    Path(config.distill.teacher).unlink()
    scores = json.loads(Path(whole, "teacher.json").read_text())["scores"]
    for store in Path(config.distill.store).iterdir():
        assert json.loads((store / "teacher.json").read_text())["record"]["scores"] == scores
    store = next(Path(config.distill.store).glob("*-responses-*"))
    alone = config.model_copy(
        update={"distill": config.distill.model_copy(update={"teacher": str(store)})}
    )
    folder = run(alone)[-1].folder
    rows = [
        [json.loads(line) for line in (Path(each) / "metrics.jsonl").read_text().splitlines()]
        for each in (whole, folder)
    ]
    terms = ("box", "obj", "cls", "bckd/class", "bckd/box", "fgd/foreground")
    assert [[row[term] for term in terms] for row in rows[0]] == [
        [row[term] for term in terms] for row in rows[1]
    ]


def test_a_full_store_is_not_asked_for_again(base, monkeypatch) -> None:
    config = base()
    fill(config)
    monkeypatch.setattr(StoredTeachers, "__call__", lambda *_: pytest.fail("asked"))
    end = fill(config)
    assert (end.asked, end.before, end.total) == (0, 24, 24)


def test_ctrl_c_keeps_what_was_answered(base) -> None:
    config = base()
    events = fill_stores(config)
    for event in events:
        if isinstance(event, TeachProgress):
            os.kill(os.getpid(), signal.SIGINT)
            break
    with pytest.raises(RunInterrupted) as stopped:
        list(events)
    assert stopped.value.by == signal.SIGINT
    kept = records(config)
    assert 0 < len(kept) < 24
    end = fill(config)
    assert (end.before, end.asked) == (len(kept), 24 - len(kept))
    assert set(records(config).values()) == {1}


def test_a_full_disk_ends_it(base, monkeypatch) -> None:
    config, append, calls = base(), RecordWriter.append, []

    def full(self, *rows):
        calls.append(rows)
        if len(calls) > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(self, *rows)

    monkeypatch.setattr(RecordWriter, "append", full)
    with pytest.raises(TeacherError, match="No space left") as error:
        fill(config)
    assert error.value.code == "T49"
    monkeypatch.setattr(RecordWriter, "append", append)
    end = fill(config)
    assert (end.before, end.asked) == (6, 18)


def test_a_folder_that_cannot_be_made(base, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((TeacherError, ConfigError)) as error:
        fill(base(distill={"store": str(tmp_path / "file" / "store")}))
    assert error.value.code in ("T49", "C33")


@pytest.mark.parametrize(
    ("methods", "distill", "code", "text"),
    [
        (("crosskd",), {}, "C34", "crosskd runs layers of the teacher"),
        (("crosskd",), {"views": 2}, "C34", "what crosskd reads of .*t.safetensors"),
        (("bckd",), {"views": "off"}, "C34", "distill.views is off"),
        (("bckd",), {"store": "off"}, "C34", "distill.store is off"),
        (("fgd",), {"store_features": "off"}, "C34", "what fgd reads"),
        (("bckd",), {"teacher": None}, "C26", "No teacher"),
    ],
)
def test_settings_with_which_nothing_is_stored(base, methods, distill, code, text) -> None:
    with pytest.raises(ConfigError, match=text) as error:
        fill(base(methods, distill))
    assert error.value.code == code


def test_it_is_no_part_of_a_launcher(base, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError) as error:
        fill(base())
    assert error.value.code == "C35"


def test_the_batch_of_a_run_on_rectangles_must_be_known(base) -> None:
    with pytest.raises(ConfigError, match="--rect"):
        fill(base(train={"batch": "auto", "rect": True}))
    assert fill(base(train={"batch": "auto"})).asked == 24


def test_an_image_that_has_become_unreadable(base, tmp_path) -> None:
    config = base()
    events = fill_stores(config)
    for event in events:
        if type(event).__name__ == "TeachPlanned":
            break
    next((tmp_path / "data" / "images" / "train").iterdir()).write_bytes(b"broken")
    *_, end = events
    assert (end.unreadable, end.asked) == (3, 21)


def test_two_at_once_ask_about_each_picture_once(base, tmp_path) -> None:
    config = base()
    processes = [start(config, "together", tmp_path) for _ in range(2)]
    asked = [int(process.communicate(timeout=120)[0]) for process in processes]
    assert Counter(records(config).values()) == {1: 24}
    assert sum(asked) == 24
    assert min(asked) > 0


def test_one_that_is_killed_is_followed_by_the_other(base, tmp_path) -> None:
    config = base()
    with start(config, "hang", tmp_path) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "begun\n"
        kept = len(records(config))
        events = fill_stores(config)
        for event in events:  # it waits for the part of the other
            if getattr(event, "text", "").startswith("waiting"):
                break
        assert len(records(config)) == 24 - 4 + kept
        killed.kill()
    *_, end = events
    assert Counter(records(config).values()) == {1: 24}
    assert end.unreadable == 0


def start(config, what: str, folder: Path) -> subprocess.Popen[str]:
    """Start :func:`child` in another process."""
    code = "from tests.run.test_teach import child; child()"
    words = [sys.executable, "-c", code, config.model_dump_json(), what, str(folder)]
    return subprocess.Popen(words, stdout=-1, text=True, cwd=Path(__file__).parents[2])


def child() -> None:
    """Fill the stores of ``argv[1]``: together with another process, or hang after a batch."""
    config, what, folder = Config.model_validate_json(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    claimed_batches.CHUNK = 4
    events = fill_stores(config)
    for event in events:
        if what == "hang" and isinstance(event, TeachProgress):
            print("begun", flush=True)
            signal.pause()
        if what == "together" and isinstance(event, TeachPlanned):
            (folder / f"{os.getpid()}.ready").touch()
            while len(list(folder.glob("*.ready"))) < 2:
                time.sleep(0.01)
        if isinstance(event, TeachFinished):
            print(event.asked)
