from __future__ import annotations

from tutelage.cli.repeat_warnings import MOST, repeat_warnings
from tutelage.run.events import Finished, Notice

END = Finished("runs/x", {}, -1, 5.0)


def after_the_end(*texts: str) -> list[str]:
    events = [Notice("info", "hello"), *(Notice("warning", text) for text in texts), END]
    found = list(repeat_warnings(iter(events)))
    assert found[: len(events)] == events
    assert all(event.level == "info" for event in found[len(events) :])
    return [event.text for event in found[len(events) :]]


def test_warnings_are_told_again_at_the_end_and_counted() -> None:
    (text,) = after_the_end("the teacher is weak", "steps were skipped", "the teacher is weak")
    assert text.splitlines() == [
        "This run warned 3 times:",
        "   the teacher is weak (×2)",
        "   steps were skipped",
    ]


def test_nothing_to_tell() -> None:
    assert after_the_end() == []


def test_many_warnings_stay_short() -> None:
    (text,) = after_the_end(*map(str, range(MOST + 3)))
    assert len(text.splitlines()) == MOST + 2
    assert text.endswith("and 3 more, see above")
