"""Aligned tables and printed lines, the same on a terminal and in a file."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
from rich.text import Text

from tutelage.sanitise import printable


def columns(
    rows: Sequence[Sequence[str]], *, left: int | Sequence[int] = 0, gap: str = "  "
) -> list[str]:
    """Align cells in columns.

    Args:
        rows: Cells; rows may be shorter than the first.
        left: Left-aligned columns: their numbers, or how many of the first.
        gap: Text between two columns.
    """
    lefts = set(range(left)) if isinstance(left, int) else set(left)
    widths = [
        max(len(row[column]) for row in rows if column < len(row))
        for column in range(max(map(len, rows), default=0))
    ]
    return [
        gap.join(
            f"{cell:<{widths[column]}}" if column in lefts else f"{cell:>{widths[column]}}"
            for column, cell in enumerate(row)
        ).rstrip()
        for row in rows
    ]


def print_lines(*lines: str, style: str = "") -> None:
    """Print lines without wrapping, markup or control characters; styled on a terminal."""
    console = Console(soft_wrap=True, highlight=False)
    for line in lines:
        console.print(Text("\n".join(map(printable, line.split("\n"))), style=style))


def print_result(values: object, lines: Sequence[str], *, as_json: bool) -> None:
    """Print the result of a command: its values with ``--json``, else lines."""
    if as_json:
        print(json.dumps(values, default=str))  # defaults of a method may be any object
    else:
        print_lines(*lines)


def make_progress(*columns: ProgressColumn) -> Progress:
    """Return a transient bar on stderr, hidden unless that is a terminal."""
    console = Console(stderr=True)
    shown = (TextColumn("{task.description}"), BarColumn(), *columns)
    return Progress(*shown, console=console, transient=True, disable=not console.is_terminal)
