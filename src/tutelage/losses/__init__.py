"""Detection losses: from raw head outputs and boxes to named terms."""

from tutelage.losses.anchor_criterion import AnchorCriterion
from tutelage.losses.auxiliary import AuxiliaryCriterion
from tutelage.losses.criterion import Criterion

__all__ = ["AnchorCriterion", "AuxiliaryCriterion", "Criterion"]
