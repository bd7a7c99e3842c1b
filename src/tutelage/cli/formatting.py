"""Numbers as the displays show them."""

from __future__ import annotations

import math


def loss(value: float) -> str:
    """Write a loss in about five characters: ``.0461``, ``12.3``, ``3.1e-06``."""
    if not math.isfinite(value):
        return f"{value:g}"
    size = abs(value)
    if size and (size < 5e-4 or size >= 1e4):
        return f"{value:.1e}"
    return _bare(f"{value:.{4 if size < 1 else 3 if size < 10 else 1}f}")


def score(value: float) -> str:
    """Write a score in 0..1 with three decimals: ``.412``; undefined is ``-``."""
    return _bare(f"{value:.3f}") if math.isfinite(value) else "-"


def duration(seconds: float) -> str:
    """Write a time span: ``12 s``, ``41 min 12 s``, ``3 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def clock(seconds: float) -> str:
    """Write a remaining time: ``8:41``, ``3:05:00``."""
    whole = round(seconds)
    hours = f"{whole // 3600}:" if whole >= 3600 else ""
    minutes = whole % 3600 // 60
    return f"{hours}{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def _bare(text: str) -> str:
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
