"""Code that settings name: a settings file from elsewhere must not run it unasked."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from tutelage.config.overrides import METHODS as METHODS_KEY
from tutelage.config.overrides import origin_of
from tutelage.config.schema import Config
from tutelage.config.validate import combine_errors
from tutelage.distill.methods import METHODS
from tutelage.errors import ConfigError
from tutelage.teachers.load import is_code

_LINE = re.compile(r":\d+$")  # of a file: run.yaml:14


class NamedCode(NamedTuple):
    """A method or teacher that would be imported: ``my_kd:Mine``, and its setting."""

    setting: str
    name: str


def named_code(config: Config) -> Iterator[NamedCode]:
    """Yield the methods and teachers of settings that run code when they are loaded."""
    for number, method in enumerate(config.distill.methods):
        if ":" in method.name and method.name not in METHODS:
            yield NamedCode(f"{METHODS_KEY}.{number}.name", method.name)
    for teacher in config.distill.teachers:
        if is_code(teacher):
            yield NamedCode("distill.teacher", teacher)


def names_of_code(config: Config) -> tuple[str, ...]:
    """Return the names of that code."""
    return tuple(code.name for code in named_code(config))


def check_named_code(
    config: Config, origins: Mapping[str, str], allowed: Collection[str] = ()
) -> None:
    """Refuse code that a file names and the command line does not.

    Args:
        config: The settings.
        origins: Where each came from.
        allowed: Names that may be imported wherever they stand.

    Raises:
        ConfigError: A file names code; nothing was imported.
    """
    faults: list[ConfigError] = []
    for code in named_code(config):
        origin = origin_of(code.setting, origins)
        if code.name not in allowed and _LINE.search(origin):
            what = f"{code.setting} names code, {code.name}, that importing would run"
            fix = f"If you trust it:  --allow-code {code.name}"
            faults.append(ConfigError(what, where=origin, fix=fix, code="C37"))
    if faults:
        raise combine_errors(faults)
