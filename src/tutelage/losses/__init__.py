"""Detection losses: from raw head outputs and boxes to named terms."""

from tutelage.losses.criterion import Criterion

# The losses may import the above from here.
# isort: split

from tutelage.losses.anchor_criterion import AnchorCriterion
from tutelage.losses.auxiliary import AuxiliaryCriterion
from tutelage.losses.d_fine import DFineCriterion
from tutelage.losses.dfl_criterion import DFLCriterion
from tutelage.losses.yolox import YOLOXCriterion

__all__ = [
    "AnchorCriterion",
    "AuxiliaryCriterion",
    "Criterion",
    "DFLCriterion",
    "DFineCriterion",
    "YOLOXCriterion",
]
