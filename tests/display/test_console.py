from __future__ import annotations

import io
import json
import re

import pytest
from rich.console import Console

from tutelage import __version__
from tutelage.display.console import (
    ANNOUNCED,
    Display,
    JsonDisplay,
    LiveDisplay,
    PlainDisplay,
    make_display,
)
from tutelage.display.run_lines import combine_kd_terms
from tutelage.run.events import EpochDone, Evaluated, Finished, Notice, Planned, Stage, StepDone
from tutelage.structures import Losses


class OnDevice:
    """A loss that counts how often it is read."""

    def __init__(self) -> None:
        self.reads = 0

    def __float__(self) -> float:
        self.reads += 1
        return 0.5


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def play(display, events) -> None:
    for event in events:
        display.show(event)
    display.close()


def live(width: int = 100, clock=None) -> tuple[LiveDisplay, io.StringIO]:
    stream = io.StringIO()
    console = Console(
        file=stream,
        force_terminal=True,
        width=width,
        highlight=False,
        markup=False,
        color_system=None,
    )
    return LiveDisplay(console, *([clock] if clock else [])), stream


def test_plain_lines(script) -> None:
    stream = io.StringIO()
    play(PlainDisplay(stream), [script[0], Notice("warning", "weak teacher"), *script[1:]])
    text = stream.getvalue()
    assert re.match(r"tutelage \d+\.\d+\.\d+\n", text)
    assert text.split("\n", 1)[1] == (
        " student  yolov7-tiny   6.2 M\n"
        " pairs    57 → 75\n"
        "          65 → 88\n"
        "warning: weak teacher\n"
        "epoch 1/2  box .0461 obj .0113 cls .0042 kd .7500  AP .405 AP50 .774 AP75 .371"
        "  lr .0098  1 min 01 s\n"
        "epoch 2/2  box .0461 obj .0113 cls .0042 kd .7500  AP .415 AP50 .774 AP75 .371"
        "  lr .0098  1 min 01 s  best\n"
        " best AP .415 (AP50 .774) at epoch 2 · 41 min 12 s · runs/d-01/best.safetensors\n"
        " next  tutelage val runs/d-01\n"
    )
    assert all(character == "\n" or character.isprintable() for character in text)


def test_the_version_comes_first_and_once_then_what_is_going_on(script) -> None:
    opening = [
        Stage("loading PyTorch"),
        Notice("info", "a notice"),
        Stage("evaluating the teacher"),
    ]
    stream = io.StringIO()
    play(PlainDisplay(stream), [*opening, *script[:1], Stage("measuring weights 2/5")])
    lines = stream.getvalue().splitlines()
    assert lines[0] == f"tutelage {__version__}"
    assert lines[1:4] == ["loading PyTorch …", "a notice", "evaluating the teacher …"]
    assert lines[-1] == "measuring weights 2/5 …"
    display, stream = live()
    play(display, [*opening, *script[:2], Stage("measuring weights 2/5"), *script[2:]])
    text = stream.getvalue()
    assert text.startswith(f"tutelage {__version__}\n")
    assert text.count("tutelage 0") == 1
    assert "evaluating the teacher …" in text
    assert "measuring weights 2/5 …" in text


def test_processes_of_one_that_announced_them_have_no_headline(monkeypatch) -> None:
    monkeypatch.setenv(ANNOUNCED, "1")
    stream = io.StringIO()
    make_display(stream=stream).show(Stage("loading PyTorch"))
    assert stream.getvalue() == "loading PyTorch …\n"


def test_the_cursor_comes_back_after_a_stage() -> None:
    display, stream = live()
    display.show(Stage("opening data"))
    assert "\x1b[?25l" in stream.getvalue()
    display.close()
    assert "\x1b[?25h" in stream.getvalue()


def test_an_epoch_without_evaluation_is_told_once_the_next_thing_happens() -> None:
    stream = io.StringIO()
    display = PlainDisplay(stream)
    display.show(Planned((), "r", 3, 1))
    display.show(EpochDone(0, {"box": 0.1}, 2.0, 0.01))
    assert "epoch 1/3" not in stream.getvalue()
    display.show(StepDone(1, 1, Losses({}, {}), 0.01, None))
    assert stream.getvalue().endswith("epoch 1/3  box .1000  lr .0100  2 s\n")
    display.show(EpochDone(1, {"box": 0.1}, 2.0, 0.01))
    display.close()
    assert stream.getvalue().count("epoch 2/3") == 1


def test_the_live_bar_shows_both_groups_and_keeps_a_row_per_evaluation(script) -> None:
    clock = Clock()
    display, stream = live(clock=clock)
    for event in script:
        clock.time += 0.5
        display.show(event)
    display.close()
    text = stream.getvalue()
    detection, kd = "box .0500  obj .7000  cls 1.0e-05", "foreground .2500  relation .5000"
    assert f"{detection} │ {kd} │ kd/total 38 %  lr .0100" in text
    assert "epoch 1/2" in text
    assert "2/2" in text
    assert "eta 0:0" in text
    rows = [line.split() for line in text.splitlines()]
    header = ["epoch", "box", "obj", "cls", "kd", "AP", "AP50", "AP75"]
    assert sum(row[-len(header) :] == header for row in rows) == 1  # once, not per row
    assert any(
        row[-8:] == ["1", ".0461", ".0113", ".0042", ".7500", ".405", ".774", ".371"]
        for row in rows
    )
    assert any(
        row[-10:] == ["2", ".0461", ".0113", ".0042", ".7500", ".415", ".774", ".371", "▲", "best"]
        for row in rows
    )
    assert "best AP .415 (AP50 .774) at epoch 2" in text


def test_losses_are_read_from_the_device_four_times_a_second_at_most() -> None:
    for kind in ("live", "json"):
        clock, value = Clock(), OnDevice()
        display = live(clock=clock)[0] if kind == "live" else JsonDisplay(io.StringIO(), clock)
        display.show(Planned((), "r", 1, 1000))
        for step in range(1, 1001):
            clock.time += 0.01
            display.show(StepDone(0, step, Losses({"box": value}, {}), 0.01, None))  # type: ignore[dict-item]
        display.close()
        assert 30 <= value.reads <= 41, kind  # ten seconds
    value = OnDevice()
    for display in (PlainDisplay(io.StringIO()), Display()):
        display.show(StepDone(0, 1, Losses({"box": value}, {}), 0.01, None))  # type: ignore[dict-item]
    assert value.reads == 0


def test_the_remaining_time_is_that_of_the_whole_run() -> None:
    clock = Clock()
    display, stream = live(clock=clock)
    display.show(Planned((), "r", 10, 100))
    for step in (1, 51):  # 50 steps in 25 s; 949 left
        display.show(StepDone(0, step, Losses({}, {}), 0.01, None))
        clock.time += 25
    display.close()
    assert "2.0 it/s" in stream.getvalue()
    assert "eta 7:54" in stream.getvalue()


def test_a_narrow_terminal_cuts_the_loss_line() -> None:
    display, stream = live(width=40, clock=Clock())
    display.show(Planned((), "r", 1, 1))
    losses = Losses({name * 4: 0.1 for name in "abcdefgh"}, {})  # type: ignore[dict-item]
    display.show(StepDone(0, 1, losses, 0.01, None))
    display.close()
    assert all(len(line) <= 60 for line in stream.getvalue().splitlines())
    assert "…" in stream.getvalue()


def test_two_runs_after_one_another(script) -> None:
    display, stream = live(clock=Clock())
    play(display, [*script, *script])
    assert (
        sum(line.split()[-3:] == ["AP", "AP50", "AP75"] for line in stream.getvalue().splitlines())
        == 2
    )


def test_brackets_in_texts_are_no_markup() -> None:
    display, stream = live()
    play(display, [Planned((("data", "[red]a[/red].yaml"),), "r", 1, 1), Notice("info", "[bold]x")])
    assert "[red]a[/red].yaml" in stream.getvalue()
    assert "[bold]x" in stream.getvalue()


def test_json_lines(script) -> None:
    stream = io.StringIO()
    odd = Evaluated(0, {"AP": float("nan")}, best=False)
    play(JsonDisplay(stream), [*script, Notice("info", "é"), odd])
    rows = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [row["event"] for row in rows[:2]] == ["plan", "step"]
    assert rows[0]["rows"][0] == ["student", "yolov7-tiny   6.2 M"]
    assert rows[1]["losses"] == {
        "detection": {"box": 0.05, "obj": 0.7, "cls": 0.00001},
        "distillation": {"fgd/foreground": 0.25, "fgd/relation": 0.5},
    }
    epochs = [row for row in rows if row["event"] == "epoch"]
    assert [row["epoch"] for row in epochs] == [1, 2]  # as on the screen
    assert epochs[0]["losses"]["fgd/relation"] == 0.5
    assert [row["best"] for row in rows if row["event"] == "evaluation"] == [False, True, False]
    assert rows[-1]["scores"] == {"AP": None}  # JSON has no NaN
    assert rows[-2]["text"] == "é"
    assert next(row for row in rows if row["event"] == "finished")["best_epoch"] == 2
    assert [row["epoch"] for row in rows if row["event"] == "step"] == [1]


def test_a_run_that_was_never_evaluated() -> None:
    stream = io.StringIO()
    play(PlainDisplay(stream), [Planned((), "r", 1, 1), Finished("runs/x", {}, -1, 5.0)])
    assert stream.getvalue().endswith(" done · 5 s · runs/x\n")
    stream = io.StringIO()
    play(JsonDisplay(stream), [Finished("runs/x", {}, -1, 5.0)])
    assert json.loads(stream.getvalue())["best_epoch"] is None


@pytest.mark.parametrize("kind", ["plain", "live"])
def test_nothing_found_is_not_the_best_of_anything(kind) -> None:
    display, stream = live() if kind == "live" else (None, io.StringIO())
    scores = {"AP": 0.0, "AP50": 0.0, "AP75": 0.0}
    events = [Planned((), "r", 2, 1), EpochDone(0, {"box": 0.1}, 2.0, 0.01)]
    events += [Evaluated(0, scores, best=True), Finished("runs/x", scores, 0, 5.0)]
    play(display or PlainDisplay(stream), events)
    text = stream.getvalue()
    assert "AP .000 (AP50 .000): no object of the val split was found · 5 s · runs/x/best" in text
    assert "best " not in text
    assert "▲" not in text


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"as_json": True, "quiet": True}, JsonDisplay),
        ({"quiet": True}, Display),
        ({}, PlainDisplay),
    ],
)
def test_which_display(options, kind) -> None:
    assert type(make_display(**options, stream=io.StringIO())) is kind


def test_only_the_first_process_talks(monkeypatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert type(make_display(as_json=True, stream=io.StringIO())) is Display


def test_a_terminal_gets_the_live_bar(monkeypatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert type(make_display(stream=io.StringIO())) is LiveDisplay
    monkeypatch.setenv("TERM", "dumb")
    assert type(make_display(stream=io.StringIO())) is PlainDisplay


def test_kd_is_the_sum_of_the_methods() -> None:
    assert combine_kd_terms({"box": 1.0, "fgd/a": 2.0, "cwd/b": 0.5}) == {"box": 1.0, "kd": 2.5}
    assert combine_kd_terms({"box": 1.0}) == {"box": 1.0}


def test_the_plan_breaks_between_words_at_80_columns() -> None:
    display, stream = live(width=80)
    words = " ".join(f"word{number}" for number in range(30))
    rows = (("student", words), ("", "  74 → 74     32 → 64   ch   /8"))
    display.show(Planned(rows, "runs/a", 1, 1))
    display.close()
    lines = [n for n in stream.getvalue().splitlines() if "word" in n or "74" in n]
    assert " ".join(" ".join(lines[:-1]).split()) == f"student {words}"
    assert all(len(line.rstrip()) <= 80 for line in lines)
    column = lines[0].index("word0")
    assert [line.index("word") for line in lines[1:-1]] == [column] * (len(lines) - 2)
    assert lines[-1].rstrip() == f"{' ' * column}  74 → 74     32 → 64   ch   /8"


def test_two_losses_of_one_name_are_told_apart() -> None:
    display, stream = live()
    display.show(Planned((), "runs/a", 1, 2))
    losses = Losses({"box": 0.1, "obj": 0.2}, {"box/box": 0.3, "box/cls": 0.4})
    display.show(StepDone(0, 1, losses, 0.01, 0.3))  # type: ignore[arg-type]
    shown = stream.getvalue()
    assert "box .1000" in shown
    assert "box/box .3000" in shown
    assert "box/cls .4000" in shown
