"""Detection heads by their yaml names."""

from __future__ import annotations

from collections.abc import Mapping

from tutelage.models.heads.anchor import Anchors, Detect, Family
from tutelage.models.heads.auxiliary import IAuxDetect
from tutelage.models.heads.decode import decode, decode_rows
from tutelage.models.heads.implicit import IDetect

HEADS: Mapping[str, type[Detect]] = {
    "Detect": Detect,
    "IDetect": IDetect,
    "IAuxDetect": IAuxDetect,
}

__all__ = ["HEADS", "Anchors", "Detect", "Family", "IAuxDetect", "IDetect", "decode", "decode_rows"]
