"""A pickle read as data: the stream becomes a tree of plain values and named records.

``pickletools`` only splits the stream into opcodes. Here they build lists, dicts, tuples and
:class:`Record` objects; a name in the stream is a string and is never imported, looked up or
called. What a record means is decided by whoever reads the tree.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn


class DamagedError(ValueError):
    """The stream or the archive around it breaks the rules of its format."""


class RefusedError(ValueError):
    """The stream names something that no model checkpoint needs."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function that the stream names; only its path."""

    path: str


@dataclass(slots=True, eq=False)
class Record:
    """An object that a real unpickler would have built.

    Attributes:
        path: Dotted path of its class or function.
        args: What it would have been called with.
        state: What its ``__setstate__`` or ``__dict__`` would have received.
        items: What would have been appended or set (pairs) on it.
    """

    path: str
    args: tuple[Any, ...]
    state: Any = None
    items: list[Any] = field(default_factory=list)


Make = Callable[[str, tuple[Any, ...]], Any]

_SCALARS = (str, int, float, bool, type(None))
_PUSHED = frozenset(  # opcodes whose decoded argument is the value itself
    [
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    ]
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_IGNORED = frozenset({"PROTO", "FRAME"})
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": set,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def parse(
    stream: bytes, *, admit: Callable[[str], object], make: Make, persistent: Callable[[Any], Any]
) -> Any:
    """Return the value that a pickle describes, without running any of it.

    Args:
        stream: The pickle, any protocol.
        admit: Called with every dotted name in the stream; raises :class:`RefusedError` to stop.
        make: ``(path, args)`` → the value to put in the place of that call, usually a record.
        persistent: Persistent id → the value to put in its place.

    Raises:
        RefusedError: ``admit`` or ``make`` refused a name.
        DamagedError: The stream is no well-formed pickle, or has an opcode that no checkpoint has.
    """
    machine = _Machine(admit, make, persistent)
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "STOP":
                return machine.pop()
            machine.step(opcode.name, argument)
    except (RefusedError, DamagedError):
        raise
    except (ValueError, TypeError, LookupError, OverflowError, UnicodeError) as error:
        raise DamagedError(f"malformed pickle: {error}") from error
    raise DamagedError("the pickle has no end")


class _Machine:
    def __init__(
        self, admit: Callable[[str], object], make: Make, persistent: Callable[[Any], Any]
    ) -> None:
        self.admit, self.make, self.persistent = admit, make, persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def pop(self) -> Any:
        if not self.stack or (self.marks and len(self.stack) <= self.marks[-1]):
            raise DamagedError("the stack is empty")
        return self.stack.pop()

    def top(self) -> Any:
        value = self.pop()
        self.stack.append(value)
        return value

    def popped_to_mark(self) -> list[Any]:
        if not self.marks:
            raise DamagedError("a mark is missing")
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def step(self, opcode: str, argument: Any) -> None:
        push = self.stack.append
        if opcode in _PUSHED:
            push(argument)
        elif opcode in _CONSTANTS:
            push(_CONSTANTS[opcode])
        elif opcode in _EMPTY:
            push(_EMPTY[opcode]())
        elif opcode in _TUPLES:
            push(tuple(reversed([self.pop() for _ in range(_TUPLES[opcode])])))
        elif opcode in ("BINGET", "LONG_BINGET", "GET"):
            push(self.memo[int(argument)])
        elif opcode in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[int(argument)] = self.top()
        elif opcode == "MEMOIZE":
            self.memo[len(self.memo)] = self.top()
        elif opcode == "MARK":
            self.marks.append(len(self.stack))
        elif opcode not in _IGNORED:
            self.compose(opcode, argument)

    def compose(self, opcode: str, argument: Any) -> None:
        """The opcodes that join values, or name things."""
        push = self.stack.append
        match opcode:
            case "TUPLE":
                push(tuple(self.popped_to_mark()))
            case "LIST":
                push(self.popped_to_mark())
            case "DICT":
                target: dict[Any, Any] = {}
                _set_items(target, self.popped_to_mark())
                push(target)
            case "FROZENSET":
                push(frozenset(_scalar(value) for value in self.popped_to_mark()))
            case "APPEND":
                value = self.pop()
                _append(self.top(), [value])
            case "APPENDS" | "ADDITEMS":
                values = self.popped_to_mark()
                _append(self.top(), values)
            case "SETITEM":
                value, key = self.pop(), self.pop()
                _set_items(self.top(), [key, value])
            case "SETITEMS":
                values = self.popped_to_mark()
                _set_items(self.top(), values)
            case "GLOBAL":
                push(self.named(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                name, module = self.pop(), self.pop()
                push(self.named(module, name))
            case "INST":
                name = self.named(*argument.split(" ", 1))
                push(self.make(name.path, tuple(self.popped_to_mark())))
            case "REDUCE" | "NEWOBJ":
                args, callee = self.pop(), self.pop()
                push(self.call(callee, args))
            case "NEWOBJ_EX":
                keywords, args, callee = self.pop(), self.pop(), self.pop()
                if keywords:
                    raise DamagedError("an object is made with keyword arguments")
                push(self.call(callee, args))
            case "BUILD":
                state = self.pop()
                _build(self.top(), state)
            case "BINPERSID":
                push(self.persistent(self.pop()))
            case "POP":
                if self.marks and len(self.stack) == self.marks[-1]:
                    self.marks.pop()
                else:
                    self.pop()
            case "POP_MARK":
                self.popped_to_mark()
            case "DUP":
                push(self.top())
            case _:
                _unknown(opcode)

    def named(self, module: object, name: object) -> Name:
        if not isinstance(module, str) or not isinstance(name, str):
            raise DamagedError("a name is not text")
        path = f"{module}.{name}"
        self.admit(path)
        return Name(path)

    def call(self, callee: object, args: object) -> Any:
        if not isinstance(callee, Name) or not isinstance(args, tuple):
            raise DamagedError("something that is no class is called")
        return self.make(callee.path, args)


def _append(target: object, values: list[Any]) -> None:
    if isinstance(target, list):
        target.extend(values)
    elif isinstance(target, set):
        target.update(_scalar(value) for value in values)
    elif isinstance(target, Record):
        target.items.extend(values)
    else:
        raise DamagedError("appending to something that is no list")


def _set_items(target: object, flat: list[Any]) -> None:
    if len(flat) % 2:
        raise DamagedError("a key has no value")
    pairs = zip(flat[::2], flat[1::2], strict=True)
    if isinstance(target, dict):
        target.update((_scalar(key), value) for key, value in pairs)
    elif isinstance(target, Record):
        target.items.extend(pairs)
    else:
        raise DamagedError("setting an item of something that is no dict")


def _build(target: object, state: object) -> None:
    if isinstance(target, Record):
        if target.state is not None:
            raise DamagedError("an object is given its state twice")
        target.state = state
    elif not isinstance(
        target, dict
    ):  # an OrderedDict's attributes (state_dict metadata): not needed
        raise DamagedError("state for something that has none")


def is_scalar(value: object) -> bool:
    """Whether a value is text, a number, a truth value or None."""
    return type(value) in _SCALARS


def _scalar(key: object) -> Any:
    """Only scalars may be keys: hashing a deeply nested tuple could exhaust the C stack."""
    if is_scalar(key):
        return key
    raise DamagedError(f"a key of type {type(key).__name__}")


def _unknown(opcode: str) -> NoReturn:
    raise DamagedError(f"opcode {opcode}, which no checkpoint needs")
