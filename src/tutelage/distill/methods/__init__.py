"""The distillation methods by name."""

from __future__ import annotations

from collections.abc import Mapping

from tutelage.distill.method import Method
from tutelage.distill.methods.bckd import BCKD
from tutelage.distill.methods.box import BoxKD
from tutelage.distill.methods.fgd import FGD
from tutelage.distill.methods.frs import FRS
from tutelage.distill.methods.ld import LD
from tutelage.distill.methods.logits import ClassLogits
from tutelage.distill.methods.objectness import ObjectnessScaled
from tutelage.distill.methods.sl2 import ScoreWeightedL2

METHODS: Mapping[str, type[Method]] = {
    "fgd": FGD,
    "frs": FRS,
    "sl2": ScoreWeightedL2,
    "objectness": ObjectnessScaled,
    "logits": ClassLogits,
    "box": BoxKD,
    "bckd": BCKD,
    "ld": LD,
}

__all__ = [
    "BCKD",
    "FGD",
    "FRS",
    "LD",
    "METHODS",
    "BoxKD",
    "ClassLogits",
    "ObjectnessScaled",
    "ScoreWeightedL2",
]
