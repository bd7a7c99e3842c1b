"""``tutelage store``: what is listed, verified and removed, and every refusal."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from tutelage.store import RecordWriter, make_store, write_lock

DAY = 86_400


def fill(root: Path, title: str, records: int, days: float = 0) -> Path:
    path = make_store(root, title, "responses", {"teacher": title, "images": 50}).path
    writer = RecordWriter(path)
    writer.append([0] * records, range(records), [b"x" * 100] * records)
    writer.close()
    for file in path.iterdir():
        os.utime(file, (time.time() - days * DAY,) * 2)
    return path


@pytest.fixture
def stores(tmp_path) -> tuple[Path, Path]:
    root = tmp_path / "runs/store"
    return fill(root, "bccd", 40), fill(root, "coco", 50, days=40)


def test_the_list(cli, stores) -> None:
    answer = cli("store", "list")
    assert (answer.code, answer.err) == (0, "")
    head, first, second, last = answer.out.splitlines()
    assert head.split() == ["store", "records", "views", "complete", "size", "last", "change"]
    assert first.split()[:5] == [stores[0].name, "40", "1", "80", "%"]
    assert second.split()[:5] == [stores[1].name, "50", "1", "100", "%"]
    assert last.startswith("2 stores in runs/store, ")
    found = json.loads(cli("store", "list", "--json").out)
    assert [one["records"] for one in found] == [40, 50]
    assert found[0]["description"] == {"teacher": "bccd", "images": 50}
    assert found == json.loads(cli("store", "list", "runs/store", "--json").out)
    assert json.loads(cli("store", "list", found[1]["path"], "--json").out) == found[1:]


def test_an_empty_list(cli, tmp_path) -> None:
    answer = cli("store", "list")
    assert (answer.code, answer.out.startswith("0 stores in runs/store, 0 bytes; ")) == (0, True)
    answer = cli("store", "list", "elsewhere")
    assert (answer.code, "[T40]: There is no folder elsewhere" in answer.err) == (4, True)


def test_the_list_names_what_cannot_be_opened(cli, stores) -> None:
    (stores[0] / "store.json").write_text("{")
    (stores[1] / "store.json").write_text('{"format": 9}')
    answer = cli("store", "list")
    assert answer.code == 0
    assert f"{stores[0].name}: runs/store/{stores[0].name}/store.json is damaged" in answer.out
    assert "this version knows 1" in answer.out


def test_verify(cli, stores) -> None:
    for name in (str(stores[0]), stores[0].name, f"runs/store/{stores[0].name}/"):
        answer = cli("store", "verify", name)
        assert (answer.code, answer.err) == (0, "")
        assert answer.out.endswith("40 records, 0 of them damaged\n")
    (records,) = stores[0].glob("*.records")
    content = bytearray(records.read_bytes())
    for image in (3, *range(10, 35)):
        content[image * 100] ^= 1
    records.write_bytes(content)
    answer = cli("store", "verify", stores[0].name)
    assert answer.code == 4
    assert "40 records, 26 of them damaged\n" in answer.out
    assert "  view 0: images 3, 10, 11, " in answer.out
    assert "28 and 6 more\n" in answer.out
    assert "the next run asks the teacher again" in answer.out
    answer = cli("store", "verify", stores[0].name, "--json")
    found = json.loads(answer.out)
    assert (answer.code, found["ok"], found["damaged"][:2]) == (4, False, [[0, 3], [0, 10]])


@pytest.mark.parametrize("command", ["verify", "remove"])
def test_refusals(cli, stores, command) -> None:
    for name, code in (("none", "T40"), ("runs", "T41"), ("runs/store", "T41")):
        answer = cli("store", command, name)
        assert (answer.code, f"[{code}]" in answer.err) == (4, True), answer
    (stores[0] / "store.json").write_text('{"format": 2}')
    answer = cli("store", command, str(stores[0]))
    assert (answer.code, "[T42]" in answer.err) == (4, True)
    if command == "verify":
        (stores[0] / "store.json").write_text("{")
        answer = cli("store", command, str(stores[0]))
        assert (answer.code, "[T43]" in answer.err) == (4, True)


def test_remove_asks(cli, stores, monkeypatch) -> None:
    answer = cli("store", "remove", stores[0].name)  # nobody to ask
    assert answer.code == 2
    assert f"[C26]: 1 store would be removed: runs/store/{stores[0].name}" in answer.err
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    questions = []
    for agreed in (False, True):
        monkeypatch.setattr("typer.confirm", lambda text, a=agreed: questions.append(text) or a)
        answer = cli("store", "remove", stores[0].name)
        assert answer.code == 0
        assert stores[0].exists() != agreed
        assert ("Nothing was removed." in answer.out) != agreed
    assert questions == ["Remove 1 store?"] * 2
    assert f"removed runs/store/{stores[0].name}" in answer.out


def test_remove_old_ones(cli, stores) -> None:
    answer = cli("store", "remove", "--older-than", "60", "--yes")
    assert (answer.code, answer.out) == (0, "Nothing was removed.\n")
    answer = cli("store", "remove", stores[0].name, "--older-than", "30", "--yes")
    assert answer.out == "Nothing was removed.\n"
    answer = cli("store", "remove", "--older-than", "30", "--yes", "--json")
    assert json.loads(answer.out) == {"removed": [f"runs/store/{stores[1].name}"], "left": {}}
    assert [path.exists() for path in stores] == [True, False]


def test_one_in_use_stays_and_the_others_go(cli, stores) -> None:
    with write_lock(stores[0]):
        answer = cli("store", "remove", stores[0].name, str(stores[1]), "--yes")
    assert (answer.code, "[T44]: Another process is writing to" in answer.err) == (4, True)
    assert [path.exists() for path in stores] == [True, False]


def test_a_damaged_one_goes_and_other_files_stay(cli, stores) -> None:
    (stores[0] / "store.json").write_text("{")
    (stores[0] / "mine.txt").write_text("precious")
    answer = cli("store", "remove", str(stores[0]), "--yes")
    assert answer.code == 0
    assert f"{stores[0]} stays, with what is not of a store: mine.txt" in answer.out
    assert [path.name for path in stores[0].iterdir()] == ["mine.txt"]


def test_nothing_named(cli) -> None:
    answer = cli("store", "remove")
    assert (answer.code, "[C26]: No store is named" in answer.err) == (2, True)
    assert cli("store").code == 2
    assert "Did you mean 'list'?" in cli("store", "lst").err
