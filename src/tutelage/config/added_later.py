"""What the runs of earlier versions did instead of settings that came later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tutelage.config.describe import settings_of

SCALING = "reference"  # loss.scaling
OPTIONS: Mapping[str, Mapping[str, Any]] = {"fgd": {"standardise": False}}  # by method


def complete(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by section; to those of an earlier version what came later is added.

    A run writes whole sections: ``loss`` with all its settings but ``scaling`` is of one that did
    not know it.
    """
    result, loss = dict(values), values.get("loss")
    if not isinstance(loss, dict) or set(settings_of("loss")) - loss.keys() != {"scaling"}:
        return result
    result["loss"] = {**loss, "scaling": SCALING}
    distill = values.get("distill")
    if isinstance(distill, dict) and isinstance(distill.get("methods"), list):
        result["distill"] = {**distill, "methods": [_method(each) for each in distill["methods"]]}
    return result


def _method(given: Any) -> Any:
    if not isinstance(given, dict):
        return given
    return {**OPTIONS.get(str(given.get("name")), {}), **given}
