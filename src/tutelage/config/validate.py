"""Merged values to a checked config, or to faults that say what, where and what was expected."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from tutelage.config.describe import expected, leaves, sections, settings_of
from tutelage.config.overrides import METHODS, Overrides, at, origin_of
from tutelage.config.presets import PRESETS
from tutelage.config.schema import Config, MethodConfig
from tutelage.config.yolov7_hyp import HYP
from tutelage.errors import ConfigError, combine_codes, nearest


def validate(merged: Overrides, faults: list[ConfigError]) -> Config | None:
    """Return the config, or None if there are faults; those found here are added to ``faults``."""
    faults += _preset_fault(merged)
    wrong = {
        key: None
        for key, leaf in leaves().items()
        if _unlike(at(merged.values, key), leaf.expected)
    }
    config = None
    try:
        config = Config.model_validate(merged.values)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            key = ".".join(str(part) for part in detail["loc"])
            if detail["type"] == "extra_forbidden":
                faults.append(_unknown(key, merged))
            else:
                wrong.setdefault(_setting(key))
    faults += [_wrong(key, merged) for key in wrong]
    return None if faults else config


def combined(faults: Iterable[ConfigError]) -> ConfigError:
    """Return one error that tells all faults."""
    faults = list(faults)
    if len(faults) == 1:
        return faults[0]
    code, marks = combine_codes((fault.code for fault in faults), ConfigError.code)
    lines = [f"  {mark}{told(fault)}" for mark, fault in zip(marks, faults, strict=True)]
    return ConfigError("\n".join([f"{len(faults)} settings cannot be used:", *lines]), code=code)


def told(fault: ConfigError) -> str:
    """Return a fault as a sentence: what (where). Fix."""
    what = fault.what.rstrip(".") + (f" ({fault.where})" if fault.where else "") + "."
    return f"{what} {fault.fix}".strip()


def _unlike(value: Any, expects: str) -> bool:
    """Whether a value passes pydantic although no one can have meant it."""
    if isinstance(value, bool):
        return "true" not in expects
    return isinstance(value, float) and not math.isfinite(value)


def _preset_fault(merged: Overrides) -> list[ConfigError]:
    preset = merged.values["preset"]
    if isinstance(preset, str) and preset in PRESETS:
        return []
    hint = f"{nearest(str(preset), PRESETS)} Presets: {' '.join(PRESETS)}".strip()
    return [
        ConfigError(
            f"There is no preset {preset!r}", where=merged.origins["preset"], fix=hint, code="C25"
        )
    ]


def _setting(location: str) -> str:
    """Return the setting that a location of pydantic's (with its union tags) belongs to."""
    parts = location.split(".")
    if location.startswith(f"{METHODS}."):
        return ".".join(parts[:4])
    while parts and ".".join(parts) not in leaves() and ".".join(parts) not in sections():
        parts.pop()
    return ".".join(parts) or location


def _wrong(key: str, merged: Overrides) -> ConfigError:
    value, where, hint = at(merged.values, key), origin_of(key, merged.origins), ""
    if key.startswith(f"{METHODS}."):
        name = key.split(".")[3:]
        if name == ["name"] and value is None:
            return ConfigError(
                f"{key.rpartition('.')[0]} has no name",
                where=where,
                fix="For example  name: fgd",
                code="C25",
            )
        fields = MethodConfig.model_json_schema()["properties"]
        expects = (
            expected(fields[name[0]])
            if name and name[0] in fields
            else "a method such as {name: fgd}"
        )
    elif key in leaves():
        leaf = leaves()[key]
        hint = nearest(value, leaf.choices) if isinstance(value, str) else ""
        expects = leaf.expected
    else:
        expects = f"a group of settings: {' '.join(settings_of(key))}"
    fix = f"{hint} Expected {expects}.".strip()
    return ConfigError(f"{key}: {value!r} cannot be used", where=where, fix=fix, code="C25")


def _unknown(key: str, merged: Overrides) -> ConfigError:
    section, _, name = key.rpartition(".")
    known = settings_of(section)
    inner = [each for each in merged.origins if each.startswith(f"{key}.")]
    origin = merged.origins[inner[0]] if inner else origin_of(key, merged.origins)
    elsewhere = [leaf for leaf in leaves() if leaf.rpartition(".")[2] == name]
    if name in HYP and not section:
        hint = (
            f"That is a key of hyp files, here {HYP[name].setting}; a hyp file is given with --hyp."
        )
    elif elsewhere:
        hint = f"Did you mean '{elsewhere[0]}'?"
    else:
        every = leaves() if not section else known
        hint = f"{nearest(name, known) or nearest(key, every)} Settings: {' '.join(known)}".strip()
    what = f"{section} has no setting '{name}'" if section else f"There is no setting '{name}'"
    return ConfigError(what, where=origin, fix=hint, code="C05")
