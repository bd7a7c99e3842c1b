"""The displays of a run: plan, progress bar, a row per evaluation, the result.

Losses stay on their device until they are shown, at most four times a second.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from tutelage.display.formatting import clock as clock_text
from tutelage.display.formatting import duration, loss, score
from tutelage.display.run_lines import (
    combine_kd_terms,
    finish_lines,
    found_something,
    headline,
    label_width,
    notice_line,
    plan_lines,
    stage_line,
    teaching_text,
)
from tutelage.sanitise import json_values

if TYPE_CHECKING:
    from tutelage.run.events import (
        EpochDone,
        Evaluated,
        Event,
        Planned,
        StepDone,
    )

INTERVAL = 0.25  # seconds between two reads of the losses
SCORES = ("AP", "AP50", "AP75")
BAR_WIDTH = 24
ANNOUNCED = "TUTELAGE_ANNOUNCED"  # environment variable


class Display:
    """Shows the events of a run; this one shows nothing.

    Attributes:
        announced: Whether the headline is written: the version, before anything else.
    """

    announced = False

    def show(self, event: Event) -> None:
        """Show one event."""

    def close(self) -> None:
        """End the display, after an error too."""


def make_display(
    *, as_json: bool = False, quiet: bool = False, stream: TextIO | None = None
) -> Display:
    """Return the display for a stream: JSON lines, nothing, a live bar, or plain lines.

    Args:
        as_json: One JSON object per line.
        quiet: Show nothing; of several processes only the first shows anything.
        stream: Output (None: stdout); the live bar needs a terminal.
    """
    output: TextIO = sys.stdout if stream is None else stream
    if os.environ.get("RANK", "0") != "0" or (quiet and not as_json):
        return Display()
    if as_json:
        return JsonDisplay(output)
    console = Console(file=output, highlight=False, markup=False)
    live = console.is_terminal and not console.is_dumb_terminal
    display = LiveDisplay(console) if live else PlainDisplay(output)
    display.announced = ANNOUNCED in os.environ  # by the process that has started this one
    return display


class JsonDisplay(Display):
    """One JSON object per line; epochs and steps count from 1, as on the screen."""

    def __init__(self, stream: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._now, self._shown = stream, now, -math.inf

    def show(self, event: Event) -> None:
        """Write the event; at most four steps a second."""
        from tutelage.run import events as e

        values: dict[str, Any] = event._asdict()
        if "epoch" in values:
            values["epoch"] += 1
        if isinstance(event, e.Finished):  # -1: never evaluated
            values["best_epoch"] = event.best_epoch + 1 if event.best_epoch >= 0 else None
        if isinstance(event, e.StepDone):
            if self._now() - self._shown < INTERVAL:
                return
            self._shown = self._now()
            values["losses"] = {name: group for name, group in _items(event).items() if group}
        row = {"event": EVENT_NAMES[type(event).__name__], **json_values(values)}
        self._stream.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._stream.flush()


EVENT_NAMES = {
    "Stage": "stage",
    "Planned": "plan",
    "StepDone": "step",
    "EpochDone": "epoch",
    "Evaluated": "evaluation",
    "Notice": "notice",
    "Finished": "finished",
}


class PlainDisplay(Display):
    """One line per epoch without control characters: for files and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._epochs = 0
        self._pending: EpochDone | None = None

    def show(self, event: Event) -> None:
        """Write the event, except steps."""
        from tutelage.run import events as e

        if not self.announced:
            self.announced = True
            self._write(headline())
        match event:
            case e.Stage():
                self._flush()
                self._write(stage_line(event))
            case e.Planned():
                self._epochs = event.epochs
                self._write(*plan_lines(event))
            case e.Notice():
                self._write(notice_line(event))
            case e.EpochDone():
                self._flush()
                self._pending = event
            case e.Evaluated():
                self._flush(event)
            case e.Finished():
                self._flush()
                self._write(*finish_lines(event))
            case e.StepDone():
                self._flush()

    def close(self) -> None:
        """Write the last epoch, if it was not evaluated."""
        self._flush()

    def _flush(self, evaluated: Evaluated | None = None) -> None:
        """Write a line for the last epoch, its evaluation, or both."""
        done, self._pending = self._pending, None
        epoch = done or evaluated
        if epoch is None:
            return
        parts = [f"epoch {epoch.epoch + 1}/{self._epochs}"]
        if done is not None:
            losses = combine_kd_terms(done.losses)
            parts.append(" ".join(f"{name} {loss(value)}" for name, value in losses.items()))
        if evaluated is not None:
            scores = {name: evaluated.scores[name] for name in SCORES if name in evaluated.scores}
            parts.append(" ".join(f"{name} {score(value)}" for name, value in scores.items()))
        if done is not None:
            parts += [f"lr {loss(done.lr)}", duration(done.seconds)]
            if teaching := teaching_text(done.teaching):
                parts.append(teaching)
        if evaluated is not None and found_something(evaluated):
            parts.append("best")
        self._write("  ".join(parts))

    def _write(self, *lines: str) -> None:
        self._stream.write("".join(f"{line}\n" for line in lines))
        self._stream.flush()


class LiveDisplay(Display):
    """A live bar with the losses of the last step, and a permanent row per evaluation."""

    def __init__(self, console: Console, now: Callable[[], float] = time.monotonic) -> None:
        self._console, self._now = console, now
        self._live: Live | None = None
        self._plan: Planned | None = None
        self._shown = -math.inf
        self._started: tuple[float, int] | None = None  # time and step of the first event
        self._done: EpochDone | None = None
        self._header = False

    def show(self, event: Event) -> None:
        """Show the event."""
        from tutelage.run import events as e

        if not self.announced:
            self.announced = True
            self._console.print(Text(headline(), style="bold"), soft_wrap=True)
        match event:
            case e.Stage():
                self._start()
                self._update(Text(f" {stage_line(event)}", style="dim"))
            case e.Planned():
                self._begin(event)
            case e.Notice():
                style = "yellow" if event.level == "warning" else "dim"
                self._console.print(Text(f" {notice_line(event)}", style=style))
            case e.StepDone():
                self._step(event)
            case e.EpochDone():
                self._done = event
                text = f" epoch {event.epoch + 1}: {duration(event.seconds)} · evaluating"
                self._update(Text(text, style="dim"))
            case e.Evaluated():
                self._row(event)
            case e.Finished():
                self.close()
                for line in finish_lines(event):
                    self._console.print(Text(line), soft_wrap=True)

    def close(self) -> None:
        """Remove the live bar."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _begin(self, plan: Planned) -> None:
        self.close()
        self._plan, self._done, self._header = plan, None, False
        self._shown, self._started = -math.inf, None
        width = label_width(plan) + 1
        for line in plan_lines(plan):
            text = Text.assemble((line[:width], "cyan"), self._wrapped(line[width:], width + 2))
            self._console.print(text, soft_wrap=True)
        self._start()

    def _start(self) -> None:
        """Start the live lines at the bottom."""
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()

    def _wrapped(self, text: str, indent: int) -> str:
        """Break a text that begins in the middle of a line between words, and align the rest."""
        room = self._console.width - indent
        lines = Text(text[2:]).wrap(self._console, max(room, 20))
        return "  " + f"\n{' ' * indent}".join(line.plain.rstrip() for line in lines)

    def _step(self, event: StepDone) -> None:
        now = self._now()
        if self._plan is None:
            return
        total = event.epoch * self._plan.steps + event.step
        if self._started is None:
            self._started = (now, total)
        if now - self._shown < INTERVAL:
            return
        self._shown = now
        began, before = self._started
        rate = (total - before) / (now - began) if now > began else 0.0
        left = self._plan.epochs * self._plan.steps - total
        eta = left / rate if rate else None
        self._update(_bar(self._console, self._plan, event, rate, eta), _losses(event))

    def _update(self, *lines: Text) -> None:
        """Show lines; plain ones, since a table costs more than twice the processor time."""
        if self._live is not None:
            self._live.update(Group(*lines), refresh=True)

    def _row(self, event: Evaluated) -> None:
        done = self._done if self._done and self._done.epoch == event.epoch else None
        terms = combine_kd_terms(done.losses) if done else {}
        scores = [name for name in SCORES if name in event.scores]
        if not self._header:
            self._header = True
            header = ["epoch".rjust(6), *(f"{name:>9}" for name in [*terms, *scores])]
            self._console.print(Text("".join(header), style="dim"))
        cells = [f"{event.epoch + 1:>6}"]
        cells += [f"{loss(value):>9}" for value in terms.values()]
        cells += [f"{score(event.scores[name]):>9}" for name in scores]
        mark = ("   ▲ best", "green") if found_something(event) else ""
        self._console.print(Text.assemble("".join(cells), mark), soft_wrap=True)


def _items(event: StepDone) -> dict[str, dict[str, float]]:
    """Read the losses from their device."""
    groups = event.losses._asdict().items()
    return {group: {name: float(v) for name, v in terms.items()} for group, terms in groups}


def _bar(console: Console, plan: Planned, event: StepDone, rate: float, left: float | None) -> Text:
    done = BAR_WIDTH * event.step // plan.steps
    mark = "-" if console.options.ascii_only else "━"
    rest = mark if console.color_system and not console.no_color else " "
    speed = f"{rate:.1f} it/s" if rate >= 1 or not rate else f"{1 / rate:.1f} s/it"
    parts = [
        f" {event.step}/{plan.steps}  ",
        f" {speed}  " if rate else "",
        f" eta {clock_text(left)}" if left is not None else "",
    ]
    return Text.assemble(
        (f" epoch {event.epoch + 1}/{plan.epochs} ", "bold"),
        (mark * done, "bar.complete"),
        (rest * (BAR_WIDTH - done), "bar.back"),
        *parts,
        no_wrap=True,
        overflow="ellipsis",
    )


def _losses(event: StepDone) -> Text:
    groups = _items(event)
    distillation = groups["distillation"]
    one = len({name.partition("/")[0] for name in distillation}) == 1
    short = {name: name.partition("/")[2] if one else name for name in distillation}
    if not groups["detection"].keys().isdisjoint(short.values()):
        short = {name: name for name in short}  # two losses would have one name
    named = {short[name]: value for name, value in distillation.items()}
    parts = [
        "  ".join(f"{name} {loss(value)}" for name, value in group.items())
        for group in (groups["detection"], named)
    ]
    share = "" if event.kd_share is None else f"kd/total {100 * event.kd_share:.0f} %  "
    if event.asked is not None and event.asked < 1:
        share += f"teacher asked {100 * event.asked:.0f} %  "
    text = " │ ".join([part for part in parts if part] + [f"{share}lr {loss(event.lr)}"])
    return Text(f"   {text}", no_wrap=True, overflow="ellipsis")
