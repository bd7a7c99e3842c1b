"""Numbers as the displays show them."""

from __future__ import annotations

import math

from tutelage.sanitise import score_text as score

__all__ = ["clock", "duration", "loss", "score"]


def loss(value: float) -> str:
    """Write a loss in about five characters: ``.0461``, ``12.3``, ``3.1e-06``."""
    if not math.isfinite(value):
        return f"{value:g}"
    size = abs(value)
    if size and (size < 5e-4 or size >= 1e4):
        return f"{value:.1e}"
    return _bare(f"{value:.{4 if size < 1 else 3 if size < 10 else 1}f}")


def duration(seconds: float) -> str:
    """Write a time span: ``12 s``, ``41 min 12 s``, ``3 h 05 min``."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def clock(seconds: float) -> str:
    """Write a remaining time: ``8:41``, ``3:05:00``."""
    minutes, rest = divmod(round(seconds), 60)
    whole = f"{minutes // 60}:{minutes % 60:02d}" if minutes >= 60 else f"{minutes}"
    return f"{whole}:{rest:02d}"


def _bare(text: str) -> str:
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
