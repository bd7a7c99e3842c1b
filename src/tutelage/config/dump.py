"""Writes settings as yaml that loads back to the same config, each line with its origin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
    methods = [*_methods(values["distill"]["methods"], origins)]
    return _format_settings(lambda key: (at(values, key), origin_of(key, origins)), methods)


def dump_all_settings() -> str:
    """Return a run file of every setting with its default, meaning and accepted values."""

    def describe(key: str) -> tuple[Any, str]:
        leaf = leaves()[key]
        return leaf.default, "; ".join(part for part in (leaf.meaning, leaf.expected) if part)

    return _format_settings(describe)


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


def _format_settings(
    describe: Callable[[str], tuple[Any, str]], methods: Sequence[tuple[str, str]] = ()
) -> str:
    """Write each setting with its value and comment; ``methods`` replaces the list of methods."""
    rows: list[tuple[str, str]] = []
    current = ""
    for key in leaves():
        section, _, name = key.rpartition(".")
        if section != current:
            rows.append((f"{section}:", ""))
            current = section
        value, comment = describe(key)
        text = f"{'  ' if section else ''}{name}: {write_value(value)}"
        rows += methods if methods and key == METHODS else [(text, comment)]
    return "".join(
        f"{text:<{_COMMENT_COLUMN}}  # {printable(comment)}\n" if comment else f"{text}\n"
        for text, comment in rows
    )
