"""Reads yaml files into plain values, with the line of each key.

The YAML 1.2 core schema is used: ``1e-6`` is a number, ``no`` and ``2024-01-01`` are text and
``010`` is ten. YAML 1.1, PyYAML's default, differs in all four cases.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tutelage.errors import ConfigError, nearest

MAX_DEPTH = 20
MAX_NODES = 20_000
MAX_BYTES = 4 * 2**20
"""No yaml of settings, classes or layers is larger; PyYAML needs half a minute for this size."""
MAX_ALIASED = 200_000
"""Limit of the values of a yaml after expanding its aliases."""
NUMBER = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_MARKS = {  # UTF-32 first: its mark begins with that of UTF-16
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
SAVE_AS = "If it is text, save it as UTF-8."
_CORE: tuple[tuple[str, str, str], ...] = (
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", "~nN"),
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+", "-+0123456789"),
    ("tag:yaml.org,2002:float", NUMBER.pattern, "-+.0123456789"),
)
_PLAIN_TAGS = {
    f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "null", "bool", "int", "float")
}


def _core_resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    for tag, pattern, firsts in _CORE:
        for first in [*firsts, *([""] if tag.endswith("null") else [])]:
            resolvers.setdefault(first, []).append((tag, re.compile(rf"^(?:{pattern})$")))
    return resolvers


class UniqueKeys(yaml.SafeLoader):
    """A safe loader that refuses duplicate keys, of which PyYAML takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                problem = f"'{key.value}' stands twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class CoreLoader(yaml.SafeLoader):
    """A safe loader with the scalars of YAML 1.2."""

    yaml_implicit_resolvers = _core_resolvers()


def _decimal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(str(loader.construct_scalar(node)))


CoreLoader.add_constructor("tag:yaml.org,2002:int", _decimal)


class CoreDumper(yaml.SafeDumper):
    """A safe dumper that quotes text which YAML 1.1 or 1.2 would not read as text."""

    yaml_implicit_resolvers = {  # noqa: RUF012  (PyYAML looks for it on the class)
        first: _core_resolvers().get(first, [])
        + yaml.SafeDumper.yaml_implicit_resolvers.get(first, [])
        for first in {*_core_resolvers(), *yaml.SafeDumper.yaml_implicit_resolvers}
    }

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        """Write every value in full: no anchors."""
        return True


class YamlDocument(NamedTuple):
    """A yaml file.

    Attributes:
        values: Its top-level mapping, plain values only.
        lines: 1-based line of every key and list item, by dotted path (``distill.methods.0.name``).
        name: The file's name, for origins and messages.
    """

    values: dict[str, Any]
    lines: dict[str, int]
    name: str

    def origin(self, path: str) -> str:
        """Return ``file.yaml:12`` for a dotted path, or for its closest known parent."""
        while path and path not in self.lines:
            path = path.rpartition(".")[0]
        return f"{self.name}:{self.lines[path]}" if path else self.name


def read_document(path: str | Path, *, kind: str) -> YamlDocument:
    """Read a yaml mapping.

    Args:
        path: The file.
        kind: Its name in messages, e.g. ``--hyp``.

    Raises:
        ConfigError: The file is missing, unreadable, not yaml, not a mapping, or names a key twice.
    """
    path = Path(path)
    try:
        text = read_yaml(path)
    except UnicodeDecodeError as error:
        what, fix = f"{not_text(path, error)}.", SAVE_AS
        raise ConfigError(what, where=kind, fix=fix, code="C24") from None
    except OSError as error:
        what, fix = _explain_unreadable(path, error)
        raise ConfigError(what, where=kind, fix=fix, code="C24") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} {error}.", where=kind, code="C24") from error
    try:
        loader = CoreLoader(text)
        node = loader.get_single_node()
        reader = _NodeReader(loader, path.name)
        values = {} if node is None else reader.read(node, "", 0)
    except (yaml.YAMLError, RecursionError, ValueError, LookupError, TypeError) as error:
        problem, line = yaml_problem(error)
        what, where = f"{path} is not valid yaml: {problem}", f"{path.name}:{line}"
        raise ConfigError(what, where=where if line else path.name, code="C24") from error
    if not isinstance(values, dict):
        what = f"{path} holds a {type(values).__name__}, not 'name: value' lines."
        raise ConfigError(what, where=kind, code="C24")
    return YamlDocument(values, reader.lines, path.name)


def read_yaml(path: Path) -> str:
    """Return the text of a yaml file.

    Raises:
        OSError: It cannot be read.
        UnicodeDecodeError: It is neither UTF-8 nor, by its first bytes, UTF-16 or UTF-32.
        yaml.YAMLError: It is larger than ``MAX_BYTES``.
    """
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise yaml.YAMLError(f"is larger than {MAX_BYTES // 2**20} MiB, which no such file is")
    return content.decode(_encoding(content))


def _encoding(content: bytes) -> str:
    """Return the encoding by the byte order mark; PowerShell and Notepad write UTF-16."""
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            return encoding
    if b"\0" in content[:2]:  # no mark, as YAML 1.2 allows: its first character is ASCII
        return "utf-16-be" if content[0] == 0 else "utf-16-le"
    return "utf-8"


def not_text(path: Path, error: UnicodeDecodeError) -> str:
    """Return what is wrong with a file whose encoding is not read."""
    line = error.object.count(b"\n", 0, error.start) + 1
    byte = f"byte 0x{error.object[error.start]:02X} in line {line}"
    return f"{path} is not a text file in {error.encoding.upper()} ({byte})"


def load_yaml(text: str, loader: type[yaml.SafeLoader] = UniqueKeys) -> Any:
    """Return plain values; every problem of the text raises ``yaml.YAMLError``.

    Raises:
        yaml.YAMLError: It is no yaml, nested too deeply, or too large after expanding aliases.
    """
    reader = loader(text)
    try:
        node = reader.get_single_node()
        if node is None:
            return None
        _check_size(node)
        return reader.construct_document(node)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        # PyYAML raises these for  !!int x, !!timestamp x, 2024-99-99
        raise yaml.YAMLError(f"a value is not of the type that it claims: {error}") from error
    finally:
        reader.dispose()


def _check_size(root: yaml.Node) -> None:
    """Refuse aliases that expand to too much or to themselves."""
    pending, count = [(root, 0)], 0
    while pending:
        node, depth = pending.pop()
        count += 1
        if count > MAX_ALIASED or depth > MAX_DEPTH:
            raise yaml.constructor.ConstructorError(
                None, None, "it is nested too deeply, or unfolds to too much", root.start_mark
            )
        if isinstance(node, yaml.MappingNode):
            pending += [(inner, depth + 1) for pair in node.value for inner in pair]
        elif isinstance(node, yaml.SequenceNode):
            pending += [(inner, depth + 1) for inner in node.value]


def parse_value(text: str) -> Any:
    """Read one value as in a yaml file; text that is not yaml is returned unchanged."""
    try:
        node = CoreLoader(text).get_single_node()
        return None if node is None else _NodeReader(CoreLoader(""), "").read(node, "", 0)
    except (yaml.YAMLError, RecursionError, ConfigError, ValueError, LookupError, TypeError):
        return text


def yaml_problem(error: Exception) -> tuple[str, int]:
    """Return the problem of an invalid yaml in one line, and the number of its line or 0."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply", 0
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    text = problem or (str(error).splitlines() or [type(error).__name__])[0]
    return text[:300], mark.line + 1 if mark else 0


def write_value(value: Any) -> str:
    """Write one value on one line so that :func:`parse_value` reads it back."""
    options: dict[str, Any] = {
        "Dumper": CoreDumper,
        "allow_unicode": True,
        "width": 10**9,
        "sort_keys": False,
    }
    text = _trimmed(yaml.dump(value, default_flow_style=True, **options))
    if "\n" in text or not text.isprintable():
        options["allow_unicode"] = False
        text = _trimmed(yaml.dump(value, default_flow_style=True, default_style='"', **options))
    return text


def _trimmed(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\n...")


class _NodeReader:
    """Converts a composed node to plain values and records the line of each key."""

    def __init__(self, loader: yaml.SafeLoader, name: str) -> None:
        self._loader, self._name, self._nodes = loader, name, 0
        self.lines: dict[str, int] = {}

    def read(self, node: yaml.Node, path: str, depth: int) -> Any:
        self._nodes += 1
        if depth > MAX_DEPTH or self._nodes > MAX_NODES:
            raise ConfigError(
                f"{self._name} is nested too deeply or too large for a settings file.", code="C24"
            )
        if node.tag not in _PLAIN_TAGS:
            problem = f"the tag {node.tag} is not allowed here"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            items: list[Any] = []
            for number, item in enumerate(node.value):
                inner = f"{path}.{number}" if path else str(number)
                self.lines[inner] = item.start_mark.line + 1
                items.append(self.read(item, inner, depth + 1))
            return items
        return self._loader.construct_object(node, deep=True)

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            inner = f"{path}.{key}" if path else key
            line = key_node.start_mark.line + 1
            if key in values:
                both = f"lines {self.lines[inner]} and {line}"
                raise ConfigError(f"'{inner}' stands twice in {self._name}: {both}.", code="C24")
            self.lines[inner] = line
            values[key] = self.read(value_node, inner, depth + 1)
        return values


def _explain_unreadable(path: Path, error: OSError) -> tuple[str, str]:
    """Return what is wrong with a file that cannot be read, and a fix."""
    if path.is_dir():
        config = path / "config.yaml"  # of a run folder
        return (
            f"{path} is a folder; a yaml file is needed.",
            f"Use  {config}" if config.exists() else "",
        )
    if not path.parent.is_dir():
        return f"{path} does not exist: there is no folder {path.parent}.", ""
    if not path.exists():
        names = sorted(p.name for p in path.parent.iterdir() if p.suffix in {".yaml", ".yml"})
        return f"{path} does not exist.", nearest(path.name, names)
    return f"{path} cannot be read: {error.strerror}.", ""
