import os

import pytest

from tutelage.errors import TeacherError
from tutelage.store import RecordWriter, make_store
from tutelage.store import shard as s
from tutelage.store.survey import summarise, verify


@pytest.fixture
def path(tmp_path):
    store = make_store(tmp_path, "t", "responses", {"teacher": "0a", "images": 4})
    for payload in (b"said", b"twice"):
        writer = RecordWriter(store.path)
        writer.append([0, 0, 7], [0, 2, 0], [payload, b"more", b"else"])
        writer.append([7], [3], [b"last"])
        writer.close()
    return store.path


def told(path):
    steps = []
    return verify(path, lambda done, total: steps.append((done, total))), steps


def test_a_summary(path) -> None:
    os.utime(path / "store.json", (0, 4e9))
    summary = summarise(path)
    assert (summary.records, summary.views, summary.complete) == (4, 2, 0.5)
    assert summary.bytes == sum(file.stat().st_size for file in path.iterdir())
    assert summary.changed == 4e9
    assert summary.description == {"teacher": "0a", "images": 4}
    values = summary.values()
    assert values["path"] == str(path)
    assert values["changed"].startswith("2096-10-02T")


def test_a_summary_of_an_empty_store(tmp_path) -> None:
    for description, complete in (({"images": 4}, 0.0), ({}, None), ({"images": 0}, None)):
        summary = summarise(make_store(tmp_path, "t", "maps", description).path)
        assert (summary.records, summary.views, summary.complete) == (0, 0, complete)


def test_a_summary_of_what_cannot_be_opened(path, monkeypatch) -> None:
    monkeypatch.setattr(s, "VERSION", 0)
    summary = summarise(path)
    assert "later version of tutelage" in summary.problem
    (path / "store.json").write_text("{")
    summary = summarise(path)
    assert "store.json is damaged" in summary.problem
    assert (summary.records, summary.complete, summary.bytes > 100) == (0, None, True)


def test_an_intact_store(path) -> None:
    result, steps = told(path)
    assert result == (4, [], 0, [])
    assert steps[-1] == (4, 4)


def test_damaged_records_are_listed(path) -> None:
    first, second = sorted(path.glob("*.records"))
    second.write_bytes(second.read_bytes().replace(b"twice", b"twine"))
    assert told(path)[0] == (4, [], 0, [])  # there is another of that view and image
    first.write_bytes(first.read_bytes().replace(b"said", b"sad?"))
    assert told(path)[0] == (4, [(0, 0)], 0, [])
    for file in (first, second):
        file.write_bytes(file.read_bytes().replace(b"last", b"lost"))
    assert told(path)[0].damaged == [(0, 0), (7, 3)]


def test_damaged_indices_are_listed(path) -> None:
    first, second = sorted(path.glob("*.index"))
    content = bytearray(first.read_bytes())
    content[s.HEADER_BYTES] ^= 1
    first.write_bytes(content)
    assert told(path)[0] == (4, [], 1, [])
    second.write_bytes(b"X" + second.read_bytes()[1:])
    assert told(path)[0] == (3, [], 1, [second.name])


def test_what_is_torn_is_no_damage(path) -> None:
    first, second = sorted(path.glob("*.index"))
    first.write_bytes(first.read_bytes()[:-3])
    second.write_bytes(second.read_bytes()[: s.HEADER_BYTES + 3])
    assert told(path)[0] == (3, [], 0, [])


def test_another_folder_is_refused(tmp_path) -> None:
    with pytest.raises(TeacherError, match="not a store"):
        told(tmp_path)
