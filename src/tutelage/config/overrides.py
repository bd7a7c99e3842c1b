"""Merges layers of settings into one tree of values, with the origin of each setting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from tutelage.config.describe import Setting, leaves
from tutelage.config.methods import parse_method
from tutelage.config.schema import Config
from tutelage.errors import ConfigError, UserError

DEFAULT = "default"
METHODS = "distill.methods"
_OTHER_NAMES = {"data.classes": "train.classes"}


class Override(NamedTuple):
    """A value for a dotted setting, its layer, and the origins of its parts if known."""

    key: str
    value: Any
    origin: str
    inner: Mapping[str, str] = {}


class Overrides:
    """The merged values and their origins, starting from the schema's defaults."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = Config.model_validate({}).model_dump(mode="json")
        self.origins: dict[str, str] = dict.fromkeys(leaves(), DEFAULT)

    def put_all(self, entries: Iterable[Override], errors: list[ConfigError]) -> None:
        """Apply a layer; entries for unknown settings are added to ``errors``."""
        for entry in entries:
            try:
                self._put(entry)
            except ConfigError as error:
                where = error.where or entry.origin
                what = error.what.rstrip(".")
                errors.append(ConfigError(what, where=where, fix=error.fix, code=error.code))

    def _put(self, entry: Override) -> None:
        entry = entry._replace(key=_OTHER_NAMES.get(entry.key, entry.key))
        value = normalise_value(entry.key, entry.value)
        path = entry.key.split(".")
        group: Any = self.values
        for depth, part in enumerate(path):
            key = _group_key(group, part, entry.key, ".".join(path[:depth]))
            if depth == len(path) - 1:
                group[key] = value
            else:
                group = group.setdefault(key, {}) if isinstance(group, dict) else group[key]
        for old in [name for name in self.origins if f"{name}.".startswith(f"{entry.key}.")]:
            del self.origins[old]
        self.origins |= {entry.key: entry.origin, **entry.inner}


def _group_key(group: Any, part: str, key: str, parent: str) -> int | str:
    if isinstance(group, dict):
        return part
    if not isinstance(group, list):
        raise ConfigError(f"{key}: {parent} is one value, not a group", code="C05")
    if part.isdecimal() and int(part) < len(group):
        return int(part)
    fix = f"Items are counted from 0; there are {len(group)}."
    raise ConfigError(f"{key}: there is no {parent}.{part}", fix=fix, code="C05")


def normalise_value(key: str, value: Any) -> Any:
    """Convert what people write to the form of the schema; other values are returned unchanged.

    ``75`` and ``57,65,73`` become lists of layers, ``fgd:alpha=0.002`` a method, ``device: 0``
    ``cuda:0``, ``SGD`` the choice ``sgd``; ``none`` and empty text become None where that is
    allowed.

    Raises:
        ConfigError: A method is misspelt, or several devices are named.
    """
    if key == METHODS:
        return [_method(item) for item in (value if isinstance(value, list | tuple) else [value])]
    if key.startswith(f"{METHODS}.") and key.count(".") == 2:
        return _method(value)
    if key == "distill.classes" and isinstance(value, dict):  # of names that are numbers, too
        return {str(name): _name(other) for name, other in value.items()}
    leaf = leaves().get(key)
    if leaf is None:
        return value
    if leaf.optional and value in ("", "none", "None"):
        return None
    if key == "distill.teacher":  # paths may hold spaces and commas
        return list(value) if isinstance(value, list | tuple) else value
    if key == "train.classes" and isinstance(value, str):  # names may hold spaces
        value = [part.strip() for part in value.strip("[] ").split(",") if part.strip()]
    if leaf.plural and value is not None:
        return [_scalar(item, leaf) for item in _items(value)]
    return _device(_scalar(value, leaf)) if key == "train.device" else _scalar(value, leaf)


def _name(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _method(value: Any) -> Any:
    return parse_method(value).model_dump(mode="json") if isinstance(value, str) else value


def _device(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if "," in value:
        fix = "One process has one, e.g. cuda:0."
        raise ConfigError(f"train.device: '{value}' names several devices", fix=fix, code="C25")
    text = value.strip()
    return f"cuda:{text}" if text.isdecimal() else text or "auto"


def _items(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [part for part in value.strip("[]() ").replace(",", " ").split() if part]
    return list(value) if isinstance(value, list | tuple) else [value]


def _scalar(value: Any, leaf: Setting) -> Any:
    if leaf.textual:
        value = _name(value)
    if isinstance(value, str) and value.strip().lower() in leaf.choices:
        return value.strip().lower()
    return value


def at(tree: Any, key: str) -> Any:
    """Return the value at a dotted key, or None."""
    for part in key.split("."):
        if isinstance(tree, list):
            tree = tree[int(part)] if part.isdecimal() and int(part) < len(tree) else None
        else:
            tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


def origin_of(key: str, origins: Mapping[str, str]) -> str:
    """Return the origin of a dotted key: its own, or that of its closest parent."""
    while key:
        if key in origins:
            return origins[key]
        key = key.rpartition(".")[0]
    return DEFAULT


@contextmanager
def name_setting(key: str, origins: Mapping[str, str] | None) -> Iterator[None]:
    """Add a setting and its origin to user errors raised inside that name no place.

    Args:
        key: The dotted key of the setting.
        origins: The origin of each setting.
    """
    try:
        yield
    except UserError as error:
        origin = origin_of(key, origins or {})
        where = key if origin == DEFAULT else f"{key}, {origin}"
        raise type(error)(
            error.what, where=error.where or where, fix=error.fix, code=error.code
        ) from error
