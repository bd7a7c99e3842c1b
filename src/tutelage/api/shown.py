"""What a function shows while it runs: nothing, a live bar in a notebook, or as its command."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from tutelage.display.console import Display, make_display
from tutelage.display.notebook import NotebookDisplay, in_notebook

Shown = Literal["auto"] | bool


@contextmanager
def showing(show: Shown, on_terminal: Callable[[], Display] = make_display) -> Iterator[Display]:
    """Yield the display of a function, and close it at the end.

    Args:
        show: ``auto``: in a notebook, not elsewhere.
        on_terminal: The display elsewhere.
    """
    notebook = in_notebook()
    if not show or (show == "auto" and not notebook):
        display = Display()
    else:
        display = NotebookDisplay() if notebook else on_terminal()
    try:
        yield display
    finally:
        display.close()
