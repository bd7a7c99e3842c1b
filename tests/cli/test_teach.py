"""``tutelage teach``: the settings of a run, what is shown, how it is stopped."""

from __future__ import annotations

import json
import signal

import pytest
from typer.main import get_command

from tutelage.cli.app import app
from tutelage.run import teach as t
from tutelage.run.interrupt import RunInterrupted
from tutelage.training.schedule import Position

FOLDER = "runs/store/big-responses-0a1b"
PLAN = t.TeachPlanned((FOLDER,), (4, 2), (100, 50), 500, 20, 3_000_000)
PROGRESS = t.TeachProgress(260, 500, 200, 12.0)
END = t.TeachFinished(400, 20, 80, 0, 500, 2_900_000, (FOLDER,), 65.0)


@pytest.fixture
def play(monkeypatch):
    """Return the settings with which the stores are filled; a script stands for it."""
    calls = []

    def set_script(*events):
        def fill_stores(config, **_):
            calls.append(config)
            for event in events:
                if isinstance(event, BaseException):
                    raise event
                yield event

        monkeypatch.setattr(t, "fill_stores", fill_stores)
        return calls

    return set_script


def test_the_settings_are_those_of_train(cli, play, engine, tmp_path) -> None:
    calls = play(END)
    (tmp_path / "run.yaml").write_text("distill:\n  views: 3\naugment:\n  mixup: 0.25\n")
    words = "--config run.yaml --data d.yaml --teacher-weights t.pt --method fgd:weight=2 --rect"
    words += " --img-size 320 --batch 8 --epochs 12 --preset v7-tiny --adam --name n --seed 3"
    words += " --set distill.store_features=float16 --project p --cache-images --single-cls"
    for command in ("teach", "train"):
        assert cli(command, *words.split()).code == 0
    assert calls == [engine.config]


def test_views_that_never_come_are_told(cli, play) -> None:
    play(PLAN._replace(total=430), END)
    answer = cli("teach", "--data", "d", "--teacher-weights", "t.pt")
    assert (
        "430: 4 views of 100 images and of 2 views of 50 without labels the 30 that a run of this "
        "seed shows" in answer.out
    )


def test_the_options_are_those_of_train() -> None:
    commands = get_command(app).commands
    taught, trained = (
        {each.name: each.opts for each in commands[name].params} for name in ("teach", "train")
    )
    assert trained.keys() - taught.keys() == {"devices", "resume", "dry_run"}
    assert taught == {name: trained[name] for name in taught}


def test_what_is_shown(cli, play) -> None:
    play(PLAN, PROGRESS, END)
    answer = cli("teach", "--data", "d", "--teacher-weights", "t.pt")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines()[2:] == [
        " pictures  500: 4 views of 100 images and 2 views of 50 without labels, 20 of them are "
        "stored",
        f" stores    about 3 MB in {FOLDER}",
        " 400 pictures asked about, 20 stored before, 80 by other processes · 1 min 05 s · "
        f"2.9 MB in {FOLDER}",
        " next  tutelage train  with the same options",
    ]
    assert cli("teach", "--data", "d", "--quiet").out == ""


def test_json(cli, play) -> None:
    play(PLAN, PROGRESS, END)
    rows = [json.loads(line) for line in cli("teach", "--data", "d", "--json").out.splitlines()]
    assert [row["event"] for row in rows] == ["stage", "plan", "progress", "finished"]
    assert rows[2] == {"event": "progress", **PROGRESS._asdict()}
    assert rows[3]["folders"] == [FOLDER]


def test_a_full_store(cli, play) -> None:
    play(END._replace(before=500, asked=0, elsewhere=0))
    answer = cli("teach", "--data", "d")
    assert "Nothing to ask: the answers about all 500 pictures are stored." in answer.out


def test_pictures_that_lack_an_answer(cli, play) -> None:
    play(END._replace(unreadable=3))
    assert "3 pictures lack an answer: an image cannot be read" in cli("teach", "--data", "d").out


def test_it_is_stopped(cli, play) -> None:
    play(PLAN, PROGRESS, RunInterrupted(Position(), signal.SIGTERM))
    answer = cli("teach", "--data", "d")
    assert answer.code == 130
    assert "Stopped by SIGTERM after 200 pictures; their answers are stored." in answer.err
    assert "The same command goes on where it was." in answer.err
    play(KeyboardInterrupt())
    assert "Stopped by Ctrl-C before the first question." in cli("teach", "--data", "d").err


def test_it_goes_on_without_resume(cli) -> None:
    answer = cli("teach", "--resume", "runs/a")
    assert (answer.code, "the same command again goes on" in answer.err) == (2, True)
