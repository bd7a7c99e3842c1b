"""Values that JSON can hold, and texts that are safe to show on a terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any


def json_values(value: Any) -> Any:
    """Return nested values for JSON, with null in place of NaN and infinity.

    Named tuples become objects, other tuples lists.
    """
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {key: json_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_values(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def score_text(value: float) -> str:
    """Write a score in 0..1 with three decimals: ``.412``; undefined is ``-``."""
    text = f"{value:.3f}" if math.isfinite(value) else "-"
    return text[1:] if text.startswith("0.") else text


def hide_credentials(text: str) -> str:
    """Return an address without user, password and query: ``rtsp://***@host/stream?***``.

    Some cameras take them within the path, ``…/user=admin_password=…``. A text that is no address
    is returned as it is.
    """
    if "://" not in text:
        return text
    text = re.sub(r"://\S*@", "://***@", text)
    text = re.sub(r"[?#]\S+", "?***", text)
    return re.sub(r"(?i)(user|pass|pwd|token|key|secret)(\w*?=)[^/\s]+", r"\1\2***", text)


def printable(text: str) -> str:
    """Replace control characters, which a terminal would interpret, by question marks."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def printable_lines(text: str, longest: int = 2_000) -> str:
    """Return a printable text of several lines, truncated if it is too long."""
    lines = "\n".join(map(printable, text.split("\n")))
    return lines if len(lines) <= longest else f"{lines[:longest]}…"
