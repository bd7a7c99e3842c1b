"""Writes settings as yaml that loads back to the same config, each line with its origin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tutelage.config.describe import leaves
from tutelage.config.overrides import METHODS, at, origin_of
from tutelage.config.schema import Config
from tutelage.config.yaml_reader import write_value
from tutelage.sanitise import printable

_COMMENT_COLUMN = 36


def dump(config: Config, origins: Mapping[str, str]) -> str:
    """Return every setting with its origin: ``  epochs: 100   # flag --epochs``.

    The text is a run file that loads to the same config.
    """
    values = config.model_dump(mode="json")
    rows: list[tuple[str, str]] = []
    for key, text in _open_sections(leaves()):
        if key == METHODS:
            rows += _methods(values["distill"]["methods"], origins)
        elif key:
            rows.append((f"{text}: {write_value(at(values, key))}", origin_of(key, origins)))
        else:
            rows.append((f"{text}:", ""))
    return _format_rows(rows)


def dump_all_settings() -> str:
    """Return a run file of every setting with its default, meaning and accepted values."""
    rows: list[tuple[str, str]] = []
    for key, text in _open_sections(leaves()):
        if not key:
            rows.append((f"{text}:", ""))
            continue
        leaf = leaves()[key]
        comment = "; ".join(part for part in (leaf.meaning, leaf.expected) if part)
        rows.append((f"{text}: {write_value(leaf.default)}", comment))
    return _format_rows(rows)


def _open_sections(keys: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield ``(key, indented name)`` per leaf, and ``("", name)`` where a section begins."""
    current = ""
    for key in keys:
        section, _, name = key.rpartition(".")
        if section != current:
            yield "", section
            current = section
        yield key, f"  {name}" if section else name


def _methods(
    methods: list[dict[str, Any]], origins: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    if not methods:
        yield "  methods: []", origin_of(METHODS, origins)
        return
    yield "  methods:", ""
    for number, method in enumerate(methods):
        for place, (option, value) in enumerate(method.items()):
            bullet = "-" if place == 0 else " "
            text = f"  {bullet} {write_value(option)}: {write_value(value)}"
            yield text, origin_of(f"{METHODS}.{number}.{option}", origins)


def _format_rows(rows: Iterable[tuple[str, str]]) -> str:
    return "".join(
        f"{text:<{_COMMENT_COLUMN}}  # {printable(comment)}\n" if comment else f"{text}\n"
        for text, comment in rows
    )
