"""The display of a run in a notebook: a bar that moves, a row per evaluation, the messages."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from tutelage.display.console import INTERVAL, SCORES, Display
from tutelage.display.formatting import clock, duration, loss, score
from tutelage.display.html_table import html_table
from tutelage.display.run_lines import (
    combine_kd_terms,
    finish_lines,
    headline,
    notice_line,
    stage_line,
)
from tutelage.sanitise import printable

if TYPE_CHECKING:
    from tutelage.run.events import EpochDone, Evaluated, Event, Planned, StepDone

BAR = Markup('<progress max="{}" value="{}" style="width:16em"></progress>')


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook."""
    shell = sys.modules.get("IPython")
    return shell is not None and hasattr(shell.get_ipython(), "kernel")


class NotebookDisplay(Display):
    """Shows the events of a run below the cell that started it; steps at most four times a second.

    Args:
        show: Shows HTML; called again, it replaces what it showed. None: that of IPython.
        now: A clock, in seconds.
    """

    def __init__(
        self,
        show: Callable[[str], None] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._show, self._now = show or _replacing(), now
        self._line: str | Markup = ""
        self._messages: list[str] = []
        self._rows: list[list[str]] = []
        self._plan: Planned | None = None
        self._done: EpochDone | None = None
        self._shown, self._started = -math.inf, (math.nan, 0)

    def show(self, event: Event) -> None:
        """Show the event."""
        from tutelage.run import events as e

        match event:
            case e.Stage():
                self._line = stage_line(event)
            case e.Planned():
                self._plan, self._done, self._rows = event, None, []
                self._started = (math.nan, 0)
            case e.Notice():
                self._messages.append(notice_line(event))
            case e.StepDone():
                if not self._step(event):
                    return
            case e.EpochDone():
                self._done = event
                self._line = f"epoch {event.epoch + 1}: {duration(event.seconds)} · evaluating"
            case e.Evaluated():
                self._evaluated(event)
            case e.Finished():
                self._line = "\n".join(line.strip() for line in finish_lines(event)[:-1])
        self._update()

    def message(self, *lines: str) -> None:
        """Show lines that stay."""
        self._messages += lines
        self._update()

    def _step(self, event: StepDone) -> bool:
        """Move the bar, if it is time to; say whether it was."""
        now = self._now()
        if self._plan is None or now - self._shown < INTERVAL:
            return False
        self._shown = now
        steps, epochs = self._plan.steps, self._plan.epochs
        done = event.epoch * steps + event.step
        if math.isnan(self._started[0]):
            self._started = (now, done)
        began, before = self._started
        left = (now - began) / (done - before) * (epochs * steps - done) if done > before else None
        groups = event.losses._asdict().values()
        terms = {name: float(value) for group in groups for name, value in group.items()}
        parts = [f"{name} {loss(value)}" for name, value in terms.items()]
        texts = [f"epoch {event.epoch + 1}/{epochs}", f"step {event.step}/{steps}", *parts]
        texts += [f"lr {loss(event.lr)}"]
        texts += [] if left is None else [f"{clock(left)} left"]
        self._line = BAR.format(epochs * steps, done) + " " + " · ".join(texts)
        return True

    def _evaluated(self, event: Evaluated) -> None:
        done = self._done if self._done and self._done.epoch == event.epoch else None
        terms = combine_kd_terms(done.losses) if done else {}
        names = [name for name in SCORES if name in event.scores]
        if not self._rows:
            self._rows = [["epoch", *terms, *names, ""]]
        cells = [str(event.epoch + 1), *map(loss, terms.values())]
        cells += [score(event.scores[name]) for name in names]
        self._rows.append([*cells, "best" if event.best and event.scores.get("AP") else ""])

    def _update(self) -> None:
        line = escape(self._line).replace("\n", Markup("<br>"))
        told = [printable(text) for text in self._messages]
        messages = Markup("").join(
            Markup('<div style="white-space:pre-wrap">{}</div>').format(text) for text in told
        )
        where = printable(self._plan.folder) if self._plan else ""
        head = Markup("<b>{}</b> {}").format(headline(), where)
        table = html_table(self._rows) if self._rows else Markup("")
        self._show(Markup("<div>{}{}{}<div>{}</div></div>").format(head, messages, table, line))


def _replacing() -> Callable[[str], None]:
    """Return a function that shows HTML in the place of what it has shown before."""
    ipython = import_module("IPython.display")  # a notebook has it
    handle: list[Any] = []

    def show(text: str) -> None:
        if handle:
            handle[0].update(ipython.HTML(text))
        else:
            handle.append(ipython.display(ipython.HTML(text), display_id=True))

    return show
