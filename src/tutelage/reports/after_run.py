"""The report at the end of a run or comparison."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from tutelage.errors import UserError
from tutelage.reports.page import write_report
from tutelage.run.events import Notice, Stage


def with_report(events: Iterable[Any], last: type, allowed: Collection[str] = ()) -> Iterator[Any]:
    """Yield the events of a run or comparison; before the last, its report is written and told.

    If that fails, whatever the reason, the run still stands.

    Args:
        events: The events.
        last: The type of the event that ends them; it has a ``folder``.
        allowed: Code that the run has imported already.
    """
    for event in events:
        if isinstance(event, last) and is_first_process():
            yield Stage("writing the report")
            try:
                path = write_report([event.folder], allow_code=allowed).path
            except Exception as error:
                what = str(error) if isinstance(error, UserError | OSError) else repr(error)
                yield Notice("warning", f"No report was written: {what}", "R39")
            else:
                yield Notice("info", f"Report: {path}")
        yield event


def is_first_process() -> bool:
    """Whether this is the only or the first process of a run."""
    return os.environ.get("RANK", "0") == "0"
