"""Values as JSON knows them, and texts as a terminal may show them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """Return nested values for JSON, which has no NaN: what is undefined or infinite is null.

    Named tuples become objects, other tuples lists.
    """
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def printable(text: str) -> str:
    """Keep control characters of foreign files out of what may end up on a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def message(text: str, longest: int = 2_000) -> str:
    """Return a text of several lines that a terminal may show, cut where it is too long."""
    lines = "\n".join(map(printable, text.split("\n")))
    return lines if len(lines) <= longest else f"{lines[:longest]}…"
