"""Detection losses: from raw head outputs and boxes to named terms."""

from tutelage.losses.auxiliary import AuxiliaryCriterion
from tutelage.losses.criterion import Criterion

__all__ = ["AuxiliaryCriterion", "Criterion"]
