"""Images that vanish while a run goes on: told once each, then too many."""

from pathlib import Path

import pytest

from tests.data.write_dataset import make_scenes
from tests.run.small_runs import settings
from tutelage.data.dataset import UnreadableError
from tutelage.run.events import Finished, Notice, Planned
from tutelage.run.run import run_training


def images(data):
    return sorted((Path(data).parent / "images" / "train").iterdir())


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    return str(make_scenes(tmp_path / "data", 12))


def config(data, tmp_path, epochs=2, workers=0):
    train = {"epochs": epochs, "workers": workers, "validate_runs": False}
    return settings(data, tmp_path, train=train)


def after_planning(given, damage):
    """Run to the end; the images are damaged once the run has been planned."""
    for event in run_training(given):
        yield event
        if isinstance(event, Planned):
            damage()


def test_each_is_told_once_and_the_run_goes_on(data, tmp_path):
    chosen = images(data)[:2]

    def damage():
        chosen[0].write_bytes(b"broken")
        chosen[1].unlink()

    events = list(after_planning(config(data, tmp_path), damage))
    notices = [event for event in events if isinstance(event, Notice)]
    told = [event for event in notices if "Other images are used instead." in event.text]
    text = "\n".join(event.text for event in told)
    assert {event.level for event in told} == {"warning"}
    for path, reason in zip(chosen, ("cannot identify image", "does not exist"), strict=True):
        assert text.count(f"{path} cannot be read: ") == 1
        assert reason in text
    assert isinstance(events[-1], Finished)


def test_the_limit_is_a_setting(data, tmp_path):
    def damage():
        for path in images(data)[:11]:
            path.unlink()

    given = config(data, tmp_path, epochs=1)
    given = given.model_copy(update={"train": given.train.model_copy(update={"unreadable": 1.0})})
    assert isinstance(list(after_planning(given, damage))[-1], Finished)


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_end_the_run(data, tmp_path, workers):
    def damage():
        for path in images(data):
            path.unlink()

    with pytest.raises(UnreadableError, match=r"^11 of 12 training images cannot be read any more"):
        list(after_planning(config(data, tmp_path, epochs=9, workers=workers), damage))
