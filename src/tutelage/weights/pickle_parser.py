"""Parses a pickle without executing it: the result is a tree of plain values and records.

The opcodes only build lists, dicts, tuples and :class:`PickledObject` records; a name in the stream
stays a string and is never imported or called. The caller decides what a record means. Python's own
unpickler would be faster, but a stream can crash it (a deep tuple as a key) or make it allocate
gigabytes (a large memo index).
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn


class DamagedError(ValueError):
    """The stream or its archive is malformed."""


class RefusedError(ValueError):
    """The stream names a class or function that is not allowed."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


@dataclass(frozen=True, slots=True)
class PickledName:
    """The path of a class or function in the stream."""

    path: str


@dataclass(slots=True, eq=False)
class PickledObject:
    """A record of an object that an unpickler would build.

    Attributes:
        path: Dotted path of its class or function.
        args: The arguments of the call.
        state: The argument of ``__setstate__`` or the update of ``__dict__``.
    """

    path: str
    args: tuple[Any, ...]
    state: Any = None


Make = Callable[[str, tuple[Any, ...]], Any]

MAX_STREAM = 4 << 20
"""Limit in bytes: four times the largest known pickle; objects take up to 200 times the memory."""

_SCALARS = frozenset({str, int, float, bool, type(None)})


def parse(
    stream: bytes,
    *,
    check_name: Callable[[str, str], object],
    make: Make,
    persistent: Callable[[Any], Any],
    start: int = 0,
) -> tuple[Any, int]:
    """Return the value that a pickle describes, without running any of it.

    Args:
        stream: Bytes with a pickle in them, of any binary protocol.
        check_name: Called with every module and name; raises :class:`RefusedError`.
        make: ``(path, args)`` → the value of that call, usually a record.
        persistent: Persistent id → its value.
        start: Offset of the pickle.

    Returns:
        The value, and the offset of the end.

    Raises:
        RefusedError: ``check_name`` or ``make`` refused a name.
        DamagedError: The stream is malformed, or has an opcode that checkpoints never have.
    """
    machine = _PickleMachine(stream, start, check_name, make, persistent)
    try:
        return machine.run()
    except (RefusedError, DamagedError):
        raise
    except IndexError as error:
        raise DamagedError(
            "malformed pickle: it ends early or takes from an empty stack"
        ) from error
    except (ValueError, TypeError, LookupError, OverflowError, struct.error) as error:
        raise DamagedError(f"malformed pickle: {error}") from error


@dataclass(eq=False)
class _PickleMachine:
    """The stack and the memo. Each mark starts a new stack, so that no opcode reads below it."""

    stream: bytes
    at: int
    check_name: Callable[[str, str], object]
    make: Make
    persistent: Callable[[Any], Any]
    stack: list[Any] = field(default_factory=list)
    marked: list[list[Any]] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self) -> tuple[Any, int]:
        stream, steps, memo, at = self.stream, _STEPS, self.memo, self.at
        while True:
            opcode = stream[at]
            if opcode == _GET:  # the three commonest opcodes inline: twice as fast
                self.stack.append(memo[stream[at + 1]])
                at += 2
            elif opcode == _PUT:
                memo[int.from_bytes(stream[at + 1 : at + 5], "little")] = self.stack[-1]
                at += 5
            elif opcode == _EMPTY_TUPLE:
                self.stack.append(())
                at += 1
            elif opcode == _STOP:
                return self.stack.pop(), at + 1
            else:
                step = steps.get(opcode) or _unknown(opcode)
                self.at = at + 1
                step(self)
                at = self.at

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self.stream):
            raise DamagedError("malformed pickle: it ends early")
        taken, self.at = self.stream[self.at : end], end
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def line(self) -> str:
        end = self.stream.index(b"\n", self.at)
        return self.take(end + 1 - self.at)[:-1].decode()

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def to_mark(self) -> list[Any]:
        values, self.stack = self.stack, self.marked.pop()
        return values

    # --- opcodes that need more than one line -------------------------------------------------

    def mark(self) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.to_mark()

    def tuple_of(self, count: int) -> None:
        if len(self.stack) < count:
            raise IndexError
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def dictionary(self) -> None:
        target: dict[Any, Any] = {}
        _set_items(target, self.to_mark())
        self.push(target)

    def append(self) -> None:
        value = self.stack.pop()
        _append(self.stack[-1], [value])

    def appends(self) -> None:
        values = self.to_mark()
        _append(self.stack[-1], values)

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _set_items(self.stack[-1], [key, value])

    def set_items(self) -> None:
        values = self.to_mark()
        _set_items(self.stack[-1], values)

    def named(self) -> None:
        self.push(self.name(self.line(), self.line()))

    def stack_named(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.push(self.name(module, name))

    def instance(self) -> NoReturn:
        self.name(self.line(), self.line())
        raise DamagedError("opcode INST, which no checkpoint needs")

    def name(self, module: object, name: object) -> PickledName:
        if not isinstance(module, str) or not isinstance(name, str):
            raise DamagedError("a name is not text")
        self.check_name(module, name)
        return PickledName(f"{module}.{name}")

    def call(self) -> None:
        args, callee = self.stack.pop(), self.stack.pop()
        if type(callee) is not PickledName or type(args) is not tuple:
            raise DamagedError("something that is no class is called")
        self.stack.append(self.make(callee.path, args))

    def call_with_keywords(self) -> None:
        if self.stack.pop():
            raise DamagedError("an object is made with keyword arguments")
        self.call()

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, PickledObject):
            if target.state is not None:
                raise DamagedError("an object is given its state twice")
            target.state = state
        elif not isinstance(target, dict):  # the attributes of an OrderedDict are dropped
            raise DamagedError("state for something that has none")


def _append(target: object, values: list[Any]) -> None:
    if isinstance(target, list):
        target.extend(values)
    elif isinstance(target, set):
        target.update(_scalar(value) for value in values)
    elif not isinstance(target, PickledObject):  # the items of a record are dropped
        raise DamagedError("appending to something that is no list")


def _set_items(target: object, flat: list[Any]) -> None:
    if len(flat) % 2:
        raise DamagedError("a key has no value")
    if isinstance(target, dict):
        keys = flat[::2]
        if not _SCALARS.issuperset(map(type, keys)):
            keys = [_scalar(key) for key in keys]
        target.update(zip(keys, flat[1::2], strict=True))
    elif not isinstance(target, PickledObject):
        raise DamagedError("setting an item of something that is no dict")


def is_scalar(value: object) -> bool:
    """Return whether a value is text, a number, a bool or None."""
    return type(value) in _SCALARS


def _scalar(key: object) -> Any:
    """Return a scalar key; hashing others, e.g. nested tuples, could exhaust the C stack."""
    if is_scalar(key):
        return key
    raise DamagedError(f"a key of type {type(key).__name__}")


def _unknown(opcode: int) -> NoReturn:
    names = (known.name for known in pickletools.opcodes if known.code == chr(opcode))
    name = f"opcode {next(names, f'{opcode:#04x}')}"
    raise DamagedError(f"malformed pickle: {name}, which no checkpoint needs")


_GET, _PUT, _EMPTY_TUPLE, _STOP = b"hr)."
_STEPS: Mapping[int, Callable[[_PickleMachine], object]] = {
    # the memo
    ord("j"): lambda m: m.push(m.memo[m.number(4)]),
    ord("q"): lambda m: m.memo.__setitem__(m.number(1), m.stack[-1]),
    0x94: lambda m: m.memo.__setitem__(len(m.memo), m.stack[-1]),
    # values
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("K"): lambda m: m.push(m.number(1)),
    ord("M"): lambda m: m.push(m.number(2)),
    ord("J"): lambda m: m.push(int.from_bytes(m.take(4), "little", signed=True)),
    0x8A: lambda m: m.push(int.from_bytes(m.take(m.number(1)), "little", signed=True)),
    0x8B: lambda m: m.push(int.from_bytes(m.take(m.number(4)), "little", signed=True)),
    ord("G"): lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    0x8C: lambda m: m.push(m.take(m.number(1)).decode("utf-8", "surrogatepass")),
    ord("X"): lambda m: m.push(m.take(m.number(4)).decode("utf-8", "surrogatepass")),
    0x8D: lambda m: m.push(m.take(m.number(8)).decode("utf-8", "surrogatepass")),
    ord("C"): lambda m: m.push(m.take(m.number(1))),
    ord("B"): lambda m: m.push(m.take(m.number(4))),
    0x8E: lambda m: m.push(m.take(m.number(8))),
    0x96: lambda m: m.push(m.take(m.number(8))),  # a bytearray
    # containers
    ord("}"): lambda m: m.push({}),
    ord("]"): lambda m: m.push([]),
    0x8F: lambda m: m.push(set()),
    ord("("): _PickleMachine.mark,
    ord("t"): lambda m: m.push(tuple(m.to_mark())),
    0x85: lambda m: m.push((m.stack.pop(),)),
    0x86: lambda m: m.tuple_of(2),
    0x87: lambda m: m.tuple_of(3),
    ord("l"): lambda m: m.push(m.to_mark()),
    ord("d"): _PickleMachine.dictionary,
    0x91: lambda m: m.push(frozenset(map(_scalar, m.to_mark()))),
    ord("a"): _PickleMachine.append,
    ord("e"): _PickleMachine.appends,
    0x90: _PickleMachine.appends,
    ord("s"): _PickleMachine.set_item,
    ord("u"): _PickleMachine.set_items,
    # names and objects
    ord("c"): _PickleMachine.named,
    0x93: _PickleMachine.stack_named,
    ord("i"): _PickleMachine.instance,
    ord("R"): _PickleMachine.call,
    0x81: _PickleMachine.call,
    0x92: _PickleMachine.call_with_keywords,
    ord("b"): _PickleMachine.build,
    ord("Q"): lambda m: m.push(m.persistent(m.stack.pop())),
    # the stack and the stream
    ord("0"): _PickleMachine.pop,
    ord("1"): _PickleMachine.to_mark,
    ord("2"): lambda m: m.push(m.stack[-1]),
    0x80: lambda m: m.take(1),
    0x95: lambda m: m.take(8),
}
