"""Arguments of a function as the options of its command."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from tutelage.api.settings import as_argument, resolve
from tutelage.config import ResolvedConfig

REPEATABLE = ("teacher_weights", "method", "allow_code", "track")
One = str | os.PathLike[str]
Several = One | Iterable[One]


def resolve_arguments(
    given: Mapping[str, Any], extra: Mapping[str, tuple[Any, str]] = MappingProxyType({})
) -> tuple[ResolvedConfig, str | None]:
    """Resolve the settings of a run from the arguments of a function.

    Args:
        given: Arguments by name; those that are None or False were not given. ``set`` may be a
            mapping of settings, or ``KEY=VALUE`` texts as after ``--set``.
        extra: Other settings with their origins.

    Returns:
        The settings, and the run folder to resume or None.

    Raises:
        ConfigError: Settings are invalid or contradict the resumed run.
    """
    options = {name: _plain(name, value) for name, value in given.items()}
    sets = options.get("set")
    if isinstance(sets, Mapping):
        named = {str(key): (value, as_argument("set")) for key, value in sets.items()}
        extra, options = {**extra, **named}, {**options, "set": ()}
    return resolve(options, extra, as_argument)


def listed(value: Any) -> list[str]:
    """Return one value, several or None as a list of texts."""
    if value is None:
        return []
    several = [value] if isinstance(value, str | os.PathLike) else value
    return [os.fspath(each) for each in several]


def _plain(name: str, value: Any) -> Any:
    if name in REPEATABLE:
        return listed(value) or None
    return os.fspath(value) if isinstance(value, os.PathLike) else value
