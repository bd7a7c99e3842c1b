"""The distillation methods by name."""

from __future__ import annotations

from collections.abc import Mapping

from tutelage.distill.method import Method
from tutelage.distill.methods.fgd import FGD

METHODS: Mapping[str, type[Method]] = {"fgd": FGD}

__all__ = ["FGD", "METHODS"]
