"""Parses a distillation method as written on a command line."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError

from tutelage.config.schema import MethodConfig
from tutelage.config.yaml_reader import parse_value
from tutelage.errors import ConfigError

_COMMA = re.compile(r",(?![^\[\]]*\])")
_LIST = "a list of layers, e.g. [57,65,73]"
_EXPECTED = {
    "weight": "a number above 0 or auto",
    "ratio": "a number above 0, and the weight auto",
    "teacher": "the number of a teacher, from 1 on",
    "student_kd_layers": _LIST,
    "teacher_kd_layers": _LIST,
    "schedule": "constant, linear or cosine",
    "warmup_epochs": "a number of epochs",
    "stop_epoch": "an epoch, from 1 on",
}
_EXAMPLE = "Write for example  fgd  or  fgd:alpha=0.002,weight=1.5"


def parse_method(text: str) -> MethodConfig:
    """Read ``name`` or ``name:option=value,option=value``.

    ``weight`` is one of the options. The name may be the path of a class, ``package.module:Class``.
    Whether the method exists and has these options is checked when it is built.

    Raises:
        ConfigError: The text cannot be read, or the weight cannot be used.
    """
    name, colon, rest = text.strip().partition(":")
    if colon and "=" not in rest.partition(":")[0]:  # package.module:Class[:options]
        member, colon, rest = rest.partition(":")
        name = f"{name}:{member.strip()}"
    name = name.strip()
    if not name or name.endswith(":") or (colon and not rest.strip()):
        raise ConfigError(f"'{text}' is not a distillation method", fix=_EXAMPLE, code="T22")
    options: dict[str, Any] = {}
    for item in _COMMA.split(rest) if rest else ():
        key, equals, value = (part.strip() for part in item.partition("="))
        if not key or not equals or not value:
            raise ConfigError(
                f"'{text}': '{item.strip()}' is not option=value", fix=_EXAMPLE, code="T22"
            )
        if key in options or key == "name":
            raise ConfigError(f"'{text}' gives '{key}' twice", fix=_EXAMPLE, code="T22")
        options[key] = parse_value(value)
    try:
        return MethodConfig.model_validate({"name": name, **options})
    except ValidationError as error:
        setting = str(error.errors()[0]["loc"][0])
        what = f"'{text}': the {setting} is {options[setting]!r}, but must be {_EXPECTED[setting]}"
        raise ConfigError(what, fix=_EXAMPLE, code="T22") from None
