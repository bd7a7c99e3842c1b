"""A store says what it is; only a store that nobody writes to is removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tutelage.errors import TeacherError
from tutelage.store import RecordReader, RecordWriter, free_bytes, make_store, open_store
from tutelage.store.folder import ABOUT, description_hash, remove_store, write_lock

DESCRIPTION = {"teacher": "0a1b", "data": "bccd", "images": 4, "augment.hsv_s": 0.7}


@pytest.fixture
def store(tmp_path: Path):
    made = make_store(tmp_path / "runs/store", "bccd yolov7/x", "responses", DESCRIPTION)
    writer = RecordWriter(made.path)
    writer.append([0], [1], [b"said"])
    writer.close()
    return made


def code(call, *arguments) -> str:
    with pytest.raises(TeacherError) as caught:
        call(*arguments)
    return caught.value.code


def test_a_store_is_named_by_what_it_depends_on(store) -> None:
    digest = description_hash(DESCRIPTION)
    assert store.path.name == f"bccd-yolov7-x-responses-{digest[:12]}"
    assert store.description == DESCRIPTION
    about = json.loads((store.path / ABOUT).read_text())
    assert (about["format"], about["hash"]) == (1, digest)
    assert open_store(store.path) == store


def test_the_hash_is_that_of_the_entries() -> None:
    digest = description_hash(DESCRIPTION)
    assert description_hash(dict(reversed(DESCRIPTION.items()))) == digest
    assert description_hash(DESCRIPTION | {"new": None}) == digest
    assert description_hash(DESCRIPTION | {"sizes": (1, 2)}) == description_hash(
        DESCRIPTION | {"sizes": [1, 2]}
    )
    for other in ({"images": 5}, {"augment.hsv_s": 0.70001}, {"teacher": "0a1c"}, {"new": 0}):
        assert description_hash(DESCRIPTION | other) != digest


def test_a_store_is_made_once(store) -> None:
    root = store.path.parent
    assert make_store(root, "another title", "responses", DESCRIPTION) == store
    assert make_store(root, "bccd", "maps", DESCRIPTION).path != store.path
    assert make_store(root, "bccd", "responses", DESCRIPTION | {"images": 5}).path != store.path
    assert RecordReader(store.path, 4).read(0, 1) == b"said"
    (store.path / ABOUT).unlink()  # the process was killed before it wrote it
    assert make_store(root, "bccd yolov7/x", "responses", DESCRIPTION).path == store.path


def test_what_is_no_store(store, tmp_path) -> None:
    assert code(open_store, store.path / "x") == "T40"
    assert code(open_store, store.path.parent) == "T41"
    assert code(open_store, store.path / ABOUT) == "T41"
    for call in (open_store, remove_store):
        assert code(call, tmp_path) == "T41"


def test_a_later_version(store) -> None:
    path = store.path / ABOUT
    path.write_text(json.dumps({"format": 2, "tutelage": "9.1", "all": "else"}))
    for call in (open_store, remove_store):
        with pytest.raises(TeacherError, match=r"later version of tutelage, 9\.1 .* format is 2"):
            call(store.path)
    assert code(make_store, store.path.parent, "bccd", "responses", DESCRIPTION) == "T42"


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: "",
        lambda text: "[1]",
        lambda text: "[" * 100_000,
        lambda text: "{}",
        lambda text: text.replace("0.7", "0.6"),
        lambda text: text.replace('"hash"', '"hush"'),
        lambda text: text.replace('"description": {', '"description": 3, "x": {'),
        lambda text: "\x00\xff",
    ],
)
def test_a_damaged_description(store, damage) -> None:
    path = store.path / ABOUT
    path.write_text(damage(path.read_text()), encoding="latin-1")
    with pytest.raises(TeacherError, match=r"store\.json is damaged: .* tutelage store remove"):
        open_store(store.path)
    assert code(make_store, store.path.parent, "bccd", "responses", DESCRIPTION) == "T43"
    assert remove_store(store.path) == []
    assert not store.path.exists()


def test_the_store_json_of_another_program_is_left_alone(tmp_path) -> None:
    for name in (ABOUT, "package.json"):
        (tmp_path / name).write_text('{"name": "shop"}')
    assert code(remove_store, tmp_path) == "T43"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_store_is_removed_with_its_link(store, tmp_path) -> None:
    (store.path / "levels.json").write_text("{}")
    (store.path / ".store.json.0a.tmp").write_text("half")
    link = tmp_path / "link"
    link.symlink_to(store.path)
    assert remove_store(link) == []
    assert not store.path.exists()
    assert not link.is_symlink()


def test_other_files_stay(store) -> None:
    (store.path / "notes.txt").write_text("mine")
    (store.path / "deeper").mkdir()
    assert remove_store(store.path) == ["deeper", "notes.txt"]
    assert sorted(os.listdir(store.path)) == ["deeper", "notes.txt"]  # noqa: PTH208


def test_a_removal_that_is_killed_can_be_repeated(store, monkeypatch) -> None:
    unlink = Path.unlink

    def killed(path: Path, **options) -> None:
        if path.suffix == ".index":
            raise KeyboardInterrupt
        unlink(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            remove_store(store.path)
    assert open_store(store.path) == store
    remove_store(store.path)
    assert not store.path.exists()


HOLD = """
import sys
from pathlib import Path
from tutelage.store import write_lock
with write_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_store_in_use_is_not_removed(store) -> None:
    command = [sys.executable, "-c", HOLD, str(store.path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with write_lock(store.path):  # writers do not exclude each other
            pass
        with pytest.raises(TeacherError, match="Another process is writing to the store"):
            remove_store(store.path)
        assert RecordReader(store.path, 4).read(0, 1) == b"said"
        process.kill()
    remove_store(store.path)
    assert not store.path.exists()


def test_a_store_that_is_being_removed_is_not_written(store, monkeypatch) -> None:
    codes = []
    unlink = Path.unlink

    def unlink_while_another_comes(path: Path, **options) -> None:
        if not codes:
            codes.append(code(write_lock(store.path).__enter__))
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", unlink_while_another_comes)
    remove_store(store.path)
    assert codes == ["T44"]


def test_without_permission_or_locks_there_is_no_lock(store, monkeypatch) -> None:
    import fcntl

    def refused(*arguments) -> None:
        raise OSError("no locks here")

    for module, name in ((fcntl, "flock"), (os, "open")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, refused)
            with write_lock(store.path):
                pass


def test_free_bytes_of_a_place_that_does_not_exist(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path, tmp_path / "a" / "b", Path("relative/store")):
        assert free_bytes(path) > 0
