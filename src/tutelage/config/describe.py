"""The schema seen from outside: all leaves, what each expects, what it means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel

from tutelage.config.schema import Config


class Setting(NamedTuple):
    """One setting.

    Attributes:
        default: Its plain default value.
        expected: What it accepts, in words.
        meaning: Its description, or an empty string.
        optional: Whether none is accepted.
        textual: Whether it is text, so that a number stands for its digits.
        plural: Whether it is a list.
        choices: The words it accepts, if only some.
    """

    default: Any
    expected: str
    meaning: str
    optional: bool
    textual: bool
    plural: bool
    choices: tuple[str, ...]


@cache
def leaves() -> Mapping[str, Setting]:
    """Return every setting by dotted name, in the order of the schema."""
    return dict(
        _walk(
            Config,
            Config.model_json_schema(),
            Config.model_validate({}).model_dump(mode="json"),
            "",
        )
    )


@cache
def sections() -> frozenset[str]:
    """Return the dotted names of the groups of settings; the empty name is the whole."""
    names = {name.rpartition(".")[0] for name in leaves()}
    return frozenset(names)


def settings_of(section: str) -> list[str]:
    """Return the names directly within a section."""
    start = f"{section}." if section else ""
    return list(
        dict.fromkeys(
            name[len(start) :].split(".")[0] for name in leaves() if name.startswith(start)
        )
    )


def _walk(
    model: type[BaseModel], schema: dict[str, Any], defaults: Any, start: str
) -> Iterator[tuple[str, Setting]]:
    properties, root = schema["properties"], Config.model_json_schema()
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            inner = root["$defs"][annotation.__name__]
            yield from _walk(annotation, inner, defaults[name], f"{start}{name}.")
            continue
        kinds = set(_kinds(annotation))
        yield (
            f"{start}{name}",
            Setting(
                default=defaults[name],
                expected=expected(properties[name]),
                meaning=field.description or "",
                optional=NoneType in kinds,
                textual=str in kinds,
                plural=tuple in kinds,
                choices=tuple(_choices(properties[name])),
            ),
        )


def _kinds(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        for part in get_args(annotation):
            yield from _kinds(part)
    elif hasattr(annotation, "__metadata__"):
        yield from _kinds(annotation.__origin__)
    else:
        yield origin or annotation
        if origin is tuple:
            yield from _kinds(get_args(annotation)[0])


def _choices(schema: Mapping[str, Any]) -> Iterator[str]:
    yield from schema.get("enum", ())
    if "const" in schema:
        yield schema["const"]
    for part in schema.get("anyOf", ()):
        yield from _choices(part)


def expected(schema: Mapping[str, Any]) -> str:
    """Say in words what a json schema accepts.

    Args:
        schema: The schema of one setting.
    """
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(expected(part) for part in schema["anyOf"]))
    if "enum" in schema:
        return " | ".join(str(choice) for choice in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    kind = schema.get("type")
    if kind == "object" and "additionalProperties" in schema and "properties" not in schema:
        return "a map such as {a: b}"
    if kind == "array":
        return "a list of " + {"integer": "whole numbers", "string": "names"}.get(
            schema["items"].get("type", ""), "methods"
        )
    if kind in ("integer", "number"):
        return ("a whole number" if kind == "integer" else "a number") + _bounds(schema)
    return {"string": "text", "boolean": "true | false", "null": "none"}.get(
        str(kind), "a group of settings"
    )


def _bounds(schema: Mapping[str, Any]) -> str:
    low, above, high = schema.get("minimum"), schema.get("exclusiveMinimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f" from {low:.10g} to {high:.10g}"
    if low is not None:
        return f" of at least {low:g}"
    if above is not None:
        return f" above {above:g}"
    return ""
