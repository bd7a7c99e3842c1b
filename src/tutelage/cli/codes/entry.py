"""An entry of the catalogue of codes."""

from __future__ import annotations

from typing import NamedTuple


class ErrorCode(NamedTuple):
    """One code of the catalogue.

    Attributes:
        title: A few words.
        exit_code: The exit status of a command that ends with it; None: a warning, the command
            goes on.
        meaning: What is wrong.
        cause: How it comes about.
        cure: What to do, one step per line; a line that begins with ``$ `` is a command.
    """

    title: str
    exit_code: int | None
    meaning: str
    cause: str
    cure: tuple[str, ...]

    @property
    def status(self) -> str:
        """How a command ends with this code: ``exit status 3`` or ``warning``."""
        return "warning" if self.exit_code is None else f"exit status {self.exit_code}"
