"""What the runs of earlier versions did instead of settings that came later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tutelage.config.describe import settings_of

SCALING = "reference"  # loss.scaling
LAYERS = ("student_kd_layers", "teacher_kd_layers")
UNNAMED = "bckd"  # the method of named layers; now FGD
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
        methods = [_method(each, distill) for each in distill["methods"]]
        result["distill"] = {**distill, "methods": methods}
    return result


def _method(given: Any, distill: Mapping[str, Any]) -> Any:
    if not isinstance(given, dict):
        return given
    layered = any(each.get(key) is not None for each in (given, distill) for key in LAYERS)
    if layered and given.get("name") == "auto":
        return {**given, "name": UNNAMED}
    return {**OPTIONS.get(str(given.get("name")), {}), **given}
