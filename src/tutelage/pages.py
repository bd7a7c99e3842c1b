"""The look that the report and the atlas of ``check`` share."""

from __future__ import annotations

from importlib.resources import files


def page_style() -> str:
    """Return the style sheet of all pages: colours in light and dark, type, tables."""
    return (files("tutelage") / "page.css").read_text("utf-8")
