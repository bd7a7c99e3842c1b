"""In which settings two configurations differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from tutelage.config.describe import leaves
from tutelage.config.overrides import at
from tutelage.config.schema import Config

# what a continued run may change: where it runs, not what it computes
FREE_ON_RESUME = (
    "train.device",
    "train.workers",
    "train.cache_images",
    "train.cache_gib",
    "train.save_minutes",
)
# where the files of a continued run lie: what is in them is compared when they are opened
MOVABLE = ("data", "distill.teacher", "distill.images")


class SettingDifference(NamedTuple):
    """A setting by its dotted name, and its value before and after."""

    key: str
    before: Any
    after: Any


def differing(
    before: Config, after: Config, *, free: tuple[str, ...] = (), movable: bool = False
) -> Iterator[SettingDifference]:
    """Yield the settings that differ, in the order of the schema.

    Args:
        before: The settings as they were.
        after: The settings as they are.
        free: Settings that may differ, by dotted name; a section frees all that is in it.
        movable: Whether files may lie elsewhere; somebody compares what is in them.
    """
    was, now = before.model_dump(mode="json"), after.model_dump(mode="json")
    allowed = (*FREE_ON_RESUME, *free)
    for key in leaves():
        old, new = at(was, key), at(now, key)
        if old == new or any(key == each or key.startswith(f"{each}.") for each in allowed):
            continue
        if not (movable and key in MOVABLE and _alike(old, new)):
            yield SettingDifference(key, old, new)


def _alike(before: Any, after: Any) -> bool:
    """Whether both name as many files, at least one."""
    counts = [len(x) if isinstance(x, list) else int(x is not None) for x in (before, after)]
    return counts[0] == counts[1] > 0
