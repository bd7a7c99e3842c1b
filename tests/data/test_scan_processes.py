"""Many files are read by processes: with the same result, and progress messages."""

import logging

import pytest

from tests.data.write_dataset import make_scenes
from tutelage.data import open_dataset
from tutelage.data.formats import scan as module


@pytest.mark.skipif(module.START_METHOD != "fork", reason="processes are forked")
def test_processes_read_what_threads_read(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    data = make_scenes(tmp_path / "data", 12)
    broken = sorted((tmp_path / "data" / "images" / "train").iterdir())[3]
    broken.write_bytes(b"no image")
    before = open_dataset(data, "train", strict=False)
    for cached in tmp_path.rglob("*.npz"):
        cached.unlink()
    monkeypatch.setattr(module, "_PROCESS_THRESHOLD", 1)
    monkeypatch.setattr(module, "_PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr(module, "_CHUNK", 4)
    with caplog.at_level(logging.INFO, "tutelage"):
        after = open_dataset(data, "train", strict=False)
    assert after.fingerprint == before.fingerprint
    assert [f.message for f in after.findings] == [f.message for f in before.findings]
    assert "12 of 12 images read" in caplog.text
