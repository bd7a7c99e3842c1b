"""The distillation methods by name. One that builds on another imports it from its own file."""

from __future__ import annotations

from collections.abc import Mapping

from tutelage.distill.method import Method
from tutelage.distill.methods.at import AttentionTransfer
from tutelage.distill.methods.bckd import BCKD
from tutelage.distill.methods.box import BoxKD
from tutelage.distill.methods.crosskd import CrossKD
from tutelage.distill.methods.cwd import CWD
from tutelage.distill.methods.defeat import DeFeat
from tutelage.distill.methods.fgd import FGD
from tutelage.distill.methods.fitnet import FitNet
from tutelage.distill.methods.frs import FRS
from tutelage.distill.methods.ld import LD
from tutelage.distill.methods.logits import ClassLogits
from tutelage.distill.methods.mgd import MGD
from tutelage.distill.methods.objectness import ObjectnessScaled
from tutelage.distill.methods.pkd import PKD
from tutelage.distill.methods.sl2 import ScoreWeightedL2
from tutelage.distill.methods.spkd import SPKD

METHODS: Mapping[str, type[Method]] = {
    "fgd": FGD,
    "mgd": MGD,
    "cwd": CWD,
    "pkd": PKD,
    "fitnet": FitNet,
    "at": AttentionTransfer,
    "spkd": SPKD,
    "defeat": DeFeat,
    "frs": FRS,
    "sl2": ScoreWeightedL2,
    "objectness": ObjectnessScaled,
    "logits": ClassLogits,
    "box": BoxKD,
    "bckd": BCKD,
    "crosskd": CrossKD,
    "ld": LD,
}

__all__ = ["FGD", "METHODS"]
