"""Finding the store of a description: the one that fits exactly, or why the nearest does not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tutelage.errors import TeacherError
from tutelage.sanitise import json_values
from tutelage.store.folder import Store, is_store, open_store

_SHOWN, _LONGEST = 4, 24


class Difference(NamedTuple):
    """An entry of two descriptions that differs; None where one of them has none."""

    name: str
    wanted: Any
    stored: Any

    def __str__(self) -> str:
        return f"{self.name} {_text(self.wanted)}, before {_text(self.stored)}"


class Found(NamedTuple):
    """The result of a search.

    Attributes:
        store: The store that fits exactly.
        nearest: Otherwise the store with the fewest differing entries, among those that share
            the teacher or the data.
        differences: How that one differs.
    """

    store: Store | None = None
    nearest: Store | None = None
    differences: tuple[Difference, ...] = ()

    def reason(self) -> str:
        """Return why the nearest store is not used, as a sentence; empty without one."""
        if self.nearest is None:
            return ""
        texts = [str(one) for one in self.differences[:_SHOWN]]
        if len(self.differences) > _SHOWN:
            texts.append(f"and {len(self.differences) - _SHOWN} more")
        return f"The store {self.nearest.path} is not used: {'; '.join(texts)}."


def stores_in(root: Path) -> Iterator[Store]:
    """Yield the stores in a folder that can be opened, by name."""
    for path in store_folders(root):
        try:
            yield open_store(path)
        except TeacherError:
            continue


def store_folders(root: Path) -> list[Path]:
    """Return the folders in ``root`` that say that they are stores, by name."""
    try:
        return sorted(path for path in root.iterdir() if is_store(path))
    except OSError:
        return []


def find_store(
    root: Path, description: Mapping[str, Any], *, same: Sequence[str] = ("teacher", "data")
) -> Found:
    """Search for the store of a description.

    Args:
        root: The folder of stores; it need not exist.
        description: As of :func:`tutelage.store.folder.make_store`.
        same: The nearest store has at least one of these entries in common.
    """
    wanted, nearest = json_values(description), Found()
    for store in stores_in(root):
        differences = differences_between(wanted, store.description)
        if not differences:
            return Found(store)
        related = {name for name in same if name in wanted} - {d.name for d in differences}
        if related and (nearest.nearest is None or len(differences) < len(nearest.differences)):
            nearest = Found(None, store, differences)
    return nearest


def differences_between(
    wanted: Mapping[str, Any], stored: Mapping[str, Any]
) -> tuple[Difference, ...]:
    """Return the entries that differ, in the order of ``wanted``, then those that it lacks."""
    names = dict.fromkeys((*wanted, *stored))
    pairs = (Difference(name, wanted.get(name), stored.get(name)) for name in names)
    return tuple(pair for pair in pairs if json.dumps(pair.wanted) != json.dumps(pair.stored))


def _text(value: Any) -> str:
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
