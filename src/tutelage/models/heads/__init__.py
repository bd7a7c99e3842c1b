"""Detection heads by their yaml names."""

from __future__ import annotations

from tutelage.models.heads.head import AnchorSearch, Head

# The heads may import the above from here.
# isort: split

from tutelage.models.heads.anchor import Anchors, Detect
from tutelage.models.heads.auxiliary import IAuxDetect
from tutelage.models.heads.d_fine import DFineHead
from tutelage.models.heads.dfl import AuxDFLDetect, DFLDetect
from tutelage.models.heads.implicit import IDetect
from tutelage.models.heads.yolox import YOLOXHead

HEADS: dict[str, type[Head]] = {
    "Detect": Detect,
    "IDetect": IDetect,
    "IAuxDetect": IAuxDetect,
    "DFLDetect": DFLDetect,
    "AuxDFLDetect": AuxDFLDetect,
    "YOLOXHead": YOLOXHead,
    "DFineHead": DFineHead,
}

__all__ = [
    "HEADS",
    "AnchorSearch",
    "Anchors",
    "AuxDFLDetect",
    "DFLDetect",
    "DFineHead",
    "Detect",
    "Head",
    "IAuxDetect",
    "IDetect",
    "YOLOXHead",
]
