"""Settings that earlier versions did not have: what their runs did instead."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from tutelage.config.describe import leaves

BEFORE: Mapping[str, Any] = {"loss.scaling": "reference"}  # by dotted name


def lacking(keys: Collection[str]) -> dict[str, Any]:
    """Return what settings of an earlier version lack, with what its runs did.

    A run writes whole sections: one without a later setting, but with all others, is of a run.

    Args:
        keys: The dotted names that are there.
    """
    return {
        key: value
        for key, value in BEFORE.items()
        if key not in keys
        and all(
            other in keys or other in BEFORE
            for other in leaves()
            if other.rpartition(".")[0] == key.rpartition(".")[0]
        )
    }


def complete(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the complete settings of a run of any version, by sections."""
    result = dict(values)
    for key, value in BEFORE.items():
        section, _, name = key.partition(".")
        result[section] = {name: value, **(values.get(section) or {})}
    return result
