"""The warnings of a run, repeated at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

MOST = 8  # distinct warnings


def repeat_warnings(events: Iterator[Any]) -> Iterator[Any]:
    """Yield the events of a run, then a notice with its warnings."""
    from tutelage.run.events import Finished, Notice

    warnings: Counter[str] = Counter()
    for event in events:
        yield event
        if isinstance(event, Notice) and event.level == "warning":
            warnings[f"[{event.code}] {event.text}" if event.code else event.text] += 1
        elif isinstance(event, Finished) and warnings:
            yield Notice("info", summarise_warnings(warnings))


def summarise_warnings(warnings: Counter[str]) -> str:
    """Return the distinct warnings with their counts, one per line."""
    total = warnings.total()
    lines = [f"This run warned {'once' if total == 1 else f'{total} times'}:"]
    for text, count in list(warnings.items())[:MOST]:
        lines.append(f"   {text}" + (f" (×{count})" if count > 1 else ""))
    if len(warnings) > MOST:
        lines.append(f"   and {len(warnings) - MOST} more, see above")
    return "\n".join(lines)
