"""Compares two configurations setting by setting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from tutelage.config.describe import leaves
from tutelage.config.overrides import at
from tutelage.config.schema import Config

# settings that a resumed run may change: where it runs, not what it computes
FREE_ON_RESUME = (
    "train.device",
    "train.workers",
    "train.cache_images",
    "train.cache_gib",
    "train.save_minutes",
    "run.track",
)
# paths of a resumed run: the files are compared by content when they are opened
MOVABLE = ("data", "distill.teacher", "distill.images")


class SettingDifference(NamedTuple):
    """A setting by its dotted name, with its value before and after."""

    key: str
    before: Any
    after: Any


def compare_configs(
    before: Config, after: Config, *, free: tuple[str, ...] = (), movable: bool = False
) -> Iterator[SettingDifference]:
    """Yield the settings that differ, in the order of the schema.

    Args:
        before: The earlier settings.
        after: The later settings.
        free: Settings or sections that may differ, by dotted name.
        movable: Whether paths may differ because the caller compares the files.
    """
    old_values, new_values = before.model_dump(mode="json"), after.model_dump(mode="json")
    allowed = (*FREE_ON_RESUME, *free)
    for key in leaves():
        old, new = at(old_values, key), at(new_values, key)
        if old == new or any(f"{key}.".startswith(f"{name}.") for name in allowed):
            continue
        if not (movable and key in MOVABLE and _same_count(old, new)):
            yield SettingDifference(key, old, new)


def _same_count(before: Any, after: Any) -> bool:
    """Return whether both name the same number of files, at least one."""
    counts = [len(x) if isinstance(x, list) else int(x is not None) for x in (before, after)]
    return counts[0] == counts[1] > 0
