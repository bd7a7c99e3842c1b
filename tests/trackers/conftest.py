import pytest


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    """What is tested is what arrives, not how soon: a busy machine may take its time."""
    monkeypatch.setattr("tutelage.trackers.follow.END", 120.0)
    monkeypatch.setattr("tutelage.trackers.follow.STOP", 120.0)
