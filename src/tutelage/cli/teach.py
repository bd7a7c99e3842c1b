"""``tutelage teach``."""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import typer
from rich.progress import MofNCompleteColumn, Progress, TaskID, TextColumn

from tutelage.cli.error_messages import Interrupted
from tutelage.cli.options import options_of
from tutelage.cli.sigterm import sender, sigterm_as_interrupt
from tutelage.cli.train import LOADING, train
from tutelage.cli.yolo_flags import TranslatedCommand
from tutelage.display.console import Display, make_display
from tutelage.display.formatting import clock, duration
from tutelage.display.tables import make_progress, print_lines
from tutelage.run.events import Notice, Stage

if TYPE_CHECKING:
    from tutelage.run.teach import TeachFinished, TeachPlanned, TeachProgress

LINES_EVERY = 30.0  # seconds between two lines in a file
AGAIN = "The same command goes on where it was."


@options_of(train, without={"devices", "resume", "dry_run"})
def teach(context: typer.Context, **given: Any) -> None:
    """Ask a teacher ahead all that a run of these options would ask it, and store the answers."""
    from tutelage.api.settings import resolve

    legacy = context.find_object(TranslatedCommand) or TranslatedCommand([], {}, [])
    display = TeachDisplay(as_json=given["json"], quiet=given["quiet"])
    with closing(display):
        display.show(LOADING)
        resolved, _ = resolve(given, legacy.settings)
        from tutelage.run.teach import fill_stores

        events = fill_stores(
            resolved.config,
            origins=resolved.origins,
            notices=(*legacy.notices, *resolved.notices),
        )
        try:
            with sigterm_as_interrupt():
                for event in events:
                    display.show(event)
        except KeyboardInterrupt as stop:
            place = "before the first question"
            if last := display.last:
                place = f"after {last.asked:,} pictures; their answers are stored"
            raise Interrupted(f"Stopped by {sender(stop)} {place}.", fix=AGAIN) from None


class TeachDisplay(Display):
    """Shows what is asked: a bar on a terminal, else now and then a line.

    Attributes:
        last: The last report.
    """

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self._inner = make_display(as_json=as_json, quiet=quiet)
        self._json, self._quiet = as_json, quiet
        self._bar: tuple[Progress, TaskID] | None = None
        self._told = time.monotonic()
        self.last: TeachProgress | None = None

    def show(self, event: Any) -> None:
        """Show an event."""
        if isinstance(event, Stage | Notice) and (self._bar is None or self._json):
            self._inner.show(event)  # before the rest is loaded
            return
        from tutelage.run import teach as t

        match event:
            case t.TeachPlanned():
                self._inner.close()
                self._write("plan", event, *plan_lines(event))
                if not self._json and not self._quiet and sys.stdout.isatty():
                    left = TextColumn("{task.fields[left]}")
                    progress = make_progress(MofNCompleteColumn(), left)
                    task = progress.add_task("asking", total=event.total, left="")
                    progress.update(task, completed=event.present)
                    progress.start()
                    self._bar = progress, task
            case t.TeachProgress():
                self.last = event
                self._progress(event)
            case t.TeachFinished():
                self.close()
                self._write("finished", event, *finish_lines(event))
            case Stage() if self._bar is not None:
                self._bar[0].update(self._bar[1], description=event.text)

    def close(self) -> None:
        """End the display."""
        self._inner.close()
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None

    def _progress(self, event: TeachProgress) -> None:
        left = "" if event.seconds_left is None else f"eta {clock(event.seconds_left)}"
        if self._bar is not None:
            bar, task = self._bar
            bar.update(task, completed=event.present, left=left, description="asking")
        elif self._json or time.monotonic() - self._told >= LINES_EVERY:
            self._told = time.monotonic()
            done = f"{event.present:,} of {event.total:,} pictures stored"
            self._write("progress", event, "  ".join(filter(None, (done, left))))

    def _write(self, name: str, event: Any, *lines: str) -> None:
        """Print a JSON object with ``--json``, else lines."""
        if self._json:
            values = {"event": name, **event._asdict()}
            print(json.dumps(values, ensure_ascii=False), flush=True)
        elif not self._quiet:
            print_lines(*lines)


def plan_lines(plan: TeachPlanned) -> list[str]:
    """Return what is asked, as lines."""
    from tutelage.weights.file_type import human_size

    images = [f"{plan.views[0]} views of {plan.images[0]:,} images"]
    if plan.images[1]:
        views = f"{plan.views[1]} views of {plan.images[1]:,} without labels"
        shown = plan.total - plan.views[0] * plan.images[0]
        if shown < plan.views[1] * plan.images[1]:  # the others never come
            views = f"of {views} the {shown:,} that a run of this seed shows"
        images.append(views)
    there = f", {plan.present:,} of them are stored" if plan.present else ""
    return [
        f" pictures  {plan.total:,}: {' and '.join(images)}{there}",
        f" stores    about {human_size(plan.bytes)} in {' '.join(plan.folders)}",
    ]


def finish_lines(end: TeachFinished) -> list[str]:
    """Return the result as lines."""
    from tutelage.weights.file_type import human_size

    stored = f"{human_size(end.bytes)} in {' '.join(end.folders)}"
    if end.before == end.total:
        return [
            f" Nothing to ask: the answers about all {end.total:,} pictures are stored.",
            stored,
        ]
    parts = [f"{end.asked:,} pictures asked about"]
    if end.before:
        parts.append(f"{end.before:,} stored before")
    if end.elsewhere:
        parts.append(f"{end.elsewhere:,} by other processes")
    lines = [f" {', '.join(parts)} · {duration(end.seconds)} · {stored}"]
    if end.unreadable:
        lines.append(f" {end.unreadable:,} pictures lack an answer: an image cannot be read")
    return [*lines, " next  tutelage train  with the same options"]
