"""Settings that earlier versions did not have: what their runs did instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# dotted name → value; a section that is complete but for one of these is of an earlier version
BEFORE: Mapping[str, Any] = {"loss.scaling": "reference"}


def complete(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the complete settings of a run of any version, by sections."""
    result = dict(values)
    for key, value in BEFORE.items():
        section, _, name = key.partition(".")
        result[section] = {name: value, **(values.get(section) or {})}
    return result
