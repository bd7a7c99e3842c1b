"""Damaging text, and poisoning what it means: each change that a fuzz test makes."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

NUMBERS = (
    "0", "-0", "-1", "1", "2", "0.5", "1.0000001", "1e-320", "1e308", "-1e308", "1e400", "nan",
    "NaN", "inf", "-inf", "Infinity", "-Infinity", ".inf", ".nan", "2147483648", "9" * 25,
    "9" * 5_000, "0x10", "010", "1_000", "0,5", "½", "１", "1e", "--1", "+1", "true", "null", "",
)  # fmt: skip
TEXTS = (
    "", " ", "\x00", "\x1b[31m", "\ud800", "\u202e", "é", "x" * 3_000, "../../../etc/passwd",
    "/etc/passwd", "C:\\images\\a.jpg", "..\\..\\x.jpg", "a.jpg", "images/a.jpg",
    "file:///etc/passwd", "https://example.org/a.jpg", "<script>alert(1)</script>",
    "'\"`$(touch pwned)", "%s%n{}{0.__class__}", "~/a.jpg", "\\\\server\\a.jpg", "a.jpg\x00.png",
    "CON", "." , "..", "[red]x[/red]", "[/]", "\r", "\n", "a" * 300 + ".jpg",
    "./" * 500 + "a.jpg",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 0.5, 1e308, float("nan"), float("inf"), -float("inf"), 2**31,
    2**63, 10**30, 10**400, [], {}, [[]], [None], [[[[1]]]], {"": 0}, {"a": {"b": [1]}},
    [0.5] * 5, [1, 2, 3, 4], ["1", "2", "3", "4"], [1e308] * 4, [float("nan")] * 4,
    [-5, -5, 9, 9], [[0, 0, 9, 0, 9, 9]], *TEXTS,
)  # fmt: skip
_NUMBER = re.compile(rb"-?\d+(\.\d*)?(e[-+]?\d+)?")
_DEEP, _TWICE = "\ue000deep", "\ue001twice"


def damaged(data: bytes, rng: random.Random, words: Sequence[bytes] = ()) -> bytes:
    """Change bytes: flip, cut, repeat, put in words or numbers, encode anew."""
    whole = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        start = rng.randrange(len(whole) + 1)
        end = min(start + rng.choice([0, 1, 2, 4, 16, 200]), len(whole))
        match rng.randrange(10):
            case 0:
                whole[start:end] = rng.randbytes(end - start)
            case 1:
                del whole[start:end]
            case 2:
                whole[start:start] = whole[start:end] * rng.choice([1, 2, 300])
            case 3:
                del whole[start:]
            case 4 | 5 if words:
                whole[start : rng.choice([start, end])] = rng.choice(words)
            case 6 if words:
                whole[start:start] = rng.choice(words) * rng.choice([2, 50, 2_000])
            case 7:
                whole[start:end] = rng.choice(TEXTS).encode("utf-8", "surrogatepass")
            case _:
                _other_number(whole, rng)
        del whole[200_000:]
    if rng.random() < 0.03:
        text = bytes(whole).decode("utf-8", "replace")
        return text.encode(rng.choice(["utf-16", "utf-16-le", "utf-8-sig", "utf-32", "utf-7"]))
    return bytes(whole)


def _other_number(whole: bytearray, rng: random.Random) -> None:
    found = list(_NUMBER.finditer(whole))
    if found:
        start, end = rng.choice(found).span()
        whole[start:end] = rng.choice(NUMBERS).encode()


def poisoned(tree: Any, rng: random.Random) -> Any:
    """Return a tree of which some values are others: of another type, huge, missing, twice."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.choice([1, 1, 2, 3, 8])):
        places = list(_places(tree))
        if not places:
            return tree
        holder, key = rng.choice(places)
        value = holder[key]
        match rng.randrange(9):
            case 0:
                del holder[key]
            case 1:
                holder[key] = [copy.deepcopy(value) for _ in range(rng.choice([1, 2, 9]))]
            case 2:
                holder[key] = {"a": copy.deepcopy(value)}
            case 3:
                holder[key] = _DEEP + rng.choice("[{") + str(rng.choice([5, 30, 900, 60_000]))
            case 4 if isinstance(holder, dict):
                holder[f"{key}{_TWICE}"] = copy.deepcopy(rng.choice(VALUES))
            case 5 if isinstance(holder, dict):
                holder[rng.choice(TEXTS)] = holder.pop(key)
            case 6:
                other, its = rng.choice(places)
                if its in other if isinstance(other, dict) else its < len(other):
                    holder[key] = copy.deepcopy(other[its])
            case 7 if isinstance(value, int | float | str):
                holder[key] = rng.choice([str(value), [value], -1, f"{value} "])
            case _:
                holder[key] = copy.deepcopy(rng.choice(VALUES))
        if len(repr(tree)) > 300_000:
            break
    return tree


def written(tree: Any) -> bytes:
    """Write a poisoned tree as json, which is yaml, too."""
    with _long_numbers():
        text = json.dumps(tree)
    text = text.replace(json.dumps(_TWICE)[1:-1], "")

    def deep(found: re.Match[str]) -> str:
        opening, count = found[1], int(found[2])
        inner = '{"a":' if opening == "{" else "["
        return inner * count + "1" + ("}" if opening == "{" else "]") * count

    marks = rf'"{re.escape(json.dumps(_DEEP)[1:-1])}([\[{{])(\d+)"'
    return re.sub(marks, deep, text, count=3).encode()  # copies of copies would fill the memory


def _places(tree: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    left = [tree]
    while left:
        node = left.pop()
        keys = (
            node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        )
        for key in keys:
            found.append((node, key))
            left.append(node[key])
    return found


class _long_numbers:
    """Numbers of more digits than Python writes by itself."""

    def __enter__(self) -> None:
        import sys

        self.before = sys.get_int_max_str_digits()
        sys.set_int_max_str_digits(0)

    def __exit__(self, *_: object) -> None:
        import sys

        sys.set_int_max_str_digits(self.before)


Mutate = Callable[[random.Random], bytes]


def from_text(*seeds: bytes, words: Sequence[str] = ()) -> Mutate:
    """Return what damages one of some texts."""
    known = [word.encode("utf-8", "surrogatepass") for word in words]
    return lambda rng: damaged(rng.choice(seeds), rng, known)


def from_tree(*seeds: Any, words: Sequence[str] = ()) -> Mutate:
    """Return what poisons one of some trees, or damages its text."""
    known = [word.encode() for word in words]

    def mutate(rng: random.Random) -> bytes:
        text = written(poisoned(rng.choice(seeds), rng))
        return damaged(text, rng, known) if rng.random() < 0.3 else text

    return mutate
