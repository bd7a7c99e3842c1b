"""Validates merged values; errors state the setting, its origin and the accepted values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from tutelage.config.describe import expected, leaves, sections, settings_of
from tutelage.config.overrides import METHODS, Overrides, at, origin_of
from tutelage.config.presets import PRESETS
from tutelage.config.schema import Config, MethodConfig
from tutelage.config.yolov7_hyp import HYP
from tutelage.errors import ConfigError, combine_codes, nearest


def validate(merged: Overrides, errors: list[ConfigError]) -> Config | None:
    """Return the config, or None if ``errors`` is not empty; new errors are added to it."""
    errors += _preset_error(merged)
    invalid = {
        key: None
        for key, leaf in leaves().items()
        if _is_mistyped(at(merged.values, key), leaf.expected)
    }
    config = None
    try:
        config = Config.model_validate(merged.values)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            key = ".".join(str(part) for part in detail["loc"])
            if detail["type"] == "extra_forbidden":
                errors.append(_unknown_setting(key, merged))
            else:
                invalid.setdefault(_setting(key))
    errors += [_invalid_value(key, merged) for key in invalid]
    return None if errors else config


def combine_errors(errors: Sequence[ConfigError]) -> ConfigError:
    """Return one error with the messages of all."""
    if len(errors) == 1:
        return errors[0]
    code, marks = combine_codes((error.code for error in errors), ConfigError.code)
    lines = [f"  {mark}{_sentence(error)}" for mark, error in zip(marks, errors, strict=True)]
    return ConfigError("\n".join([f"{len(errors)} settings cannot be used:", *lines]), code=code)


def _sentence(error: ConfigError) -> str:
    what = error.what.rstrip(".") + (f" ({error.where})" if error.where else "") + "."
    return f"{what} {error.fix}".strip()


def _is_mistyped(value: Any, expects: str) -> bool:
    """Return whether a value passes pydantic but is certainly a mistake."""
    if isinstance(value, bool):
        return "true" not in expects
    return isinstance(value, float) and not math.isfinite(value)


def _preset_error(merged: Overrides) -> list[ConfigError]:
    preset = merged.values["preset"]
    if isinstance(preset, str) and preset in PRESETS:
        return []
    hint = f"{nearest(str(preset), PRESETS)} Presets: {' '.join(PRESETS)}".strip()
    what = f"There is no preset {preset!r}"
    return [ConfigError(what, where=merged.origins["preset"], fix=hint, code="C25")]


def _setting(location: str) -> str:
    """Return the setting of a location in pydantic's errors, which may have union tags."""
    parts = location.split(".")
    if location.startswith(f"{METHODS}."):
        return ".".join(parts[:4])
    while parts and ".".join(parts) not in leaves() and ".".join(parts) not in sections():
        parts.pop()
    return ".".join(parts) or location


def _invalid_value(key: str, merged: Overrides) -> ConfigError:
    value, where, hint = at(merged.values, key), origin_of(key, merged.origins), ""
    if key.startswith(f"{METHODS}."):
        name = key.split(".")[3:]
        if name == ["name"] and value is None:
            what, fix = f"{key.rpartition('.')[0]} has no name", "For example  name: fgd"
            return ConfigError(what, where=where, fix=fix, code="C25")
        fields = MethodConfig.model_json_schema()["properties"]
        known = name and name[0] in fields
        expects = expected(fields[name[0]]) if known else "a method such as {name: fgd}"
    elif key in leaves():
        leaf = leaves()[key]
        words = value if isinstance(value, list) else [value]
        wrong = (word for word in words if isinstance(word, str) and word not in leaf.choices)
        hint = next(filter(None, (nearest(word, leaf.choices) for word in wrong)), "")
        expects = leaf.expected
    else:
        expects = f"a group of settings: {' '.join(settings_of(key))}"
    fix = f"{hint} Expected {expects}.".strip()
    return ConfigError(f"{key}: {value!r} cannot be used", where=where, fix=fix, code="C25")


def _unknown_setting(key: str, merged: Overrides) -> ConfigError:
    section, _, name = key.rpartition(".")
    known = settings_of(section)
    inner = [each for each in merged.origins if each.startswith(f"{key}.")]
    origin = merged.origins[inner[0]] if inner else origin_of(key, merged.origins)
    elsewhere = [leaf for leaf in leaves() if leaf.rpartition(".")[2] == name]
    if name in HYP and not section:
        hint = f"That is a key of hyp files, here {HYP[name]}; a hyp file is given with --hyp."
    elif elsewhere:
        hint = f"Did you mean '{elsewhere[0]}'?"
    else:
        every = leaves() if not section else known
        hint = f"{nearest(name, known) or nearest(key, every)} Settings: {' '.join(known)}".strip()
    what = f"{section} has no setting '{name}'" if section else f"There is no setting '{name}'"
    return ConfigError(what, where=origin, fix=hint, code="C05")
