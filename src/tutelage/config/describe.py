"""Every setting of the schema by dotted name: default, accepted values, meaning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from tutelage.config.schema import Config


class Setting(NamedTuple):
    """One setting.

    Attributes:
        default: Its plain default value.
        expected: The accepted values, in words.
        meaning: Its description, or an empty string.
        optional: Whether None is accepted.
        textual: Whether it is text; numbers are then converted to text.
        plural: Whether it is a list.
        choices: The accepted words, if limited.
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
    schema, defaults = Config.model_json_schema(), Config().model_dump(mode="json")
    return dict(_walk(schema, defaults, "", schema["$defs"]))


@cache
def sections() -> frozenset[str]:
    """Return the dotted names of the sections; the empty name is the whole."""
    return frozenset(name.rpartition(".")[0] for name in leaves())


def settings_of(section: str) -> list[str]:
    """Return the names directly within a section."""
    start = f"{section}." if section else ""
    names = (name[len(start) :].split(".")[0] for name in leaves() if name.startswith(start))
    return list(dict.fromkeys(names))


def _walk(
    schema: dict[str, Any], defaults: Any, prefix: str, definitions: dict[str, Any]
) -> Iterator[tuple[str, Setting]]:
    for name, field in schema["properties"].items():
        if "$ref" in field:
            section = definitions[field["$ref"].rpartition("/")[2]]
            yield from _walk(section, defaults[name], f"{prefix}{name}.", definitions)
            continue
        types = set(_types(field))
        yield (
            f"{prefix}{name}",
            Setting(
                default=defaults[name],
                expected=expected(field),
                meaning=field.get("description", ""),
                optional="null" in types,
                textual="string" in types,
                plural="array" in types,
                choices=tuple(_choices(field)),
            ),
        )


def _types(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the json types that a setting and its items accept, except for limited words."""
    for part in schema.get("anyOf", [schema]):
        if "enum" not in part and "const" not in part:
            yield part.get("type", "")
        if "items" in part:
            yield from _types(part["items"])


def _choices(schema: Mapping[str, Any]) -> Iterator[str]:
    yield from schema.get("enum", ())
    if "const" in schema:
        yield schema["const"]
    for part in schema.get("anyOf", ()):
        yield from _choices(part)
    if "items" in schema:
        yield from _choices(schema["items"])


def expected(schema: Mapping[str, Any]) -> str:
    """Return in words what the json schema of a setting accepts."""
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
        if "prefixItems" in schema:
            return "two rising numbers"
        if "enum" in schema["items"]:
            return f"a list of {expected(schema['items'])}"
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
