"""``tutelage check``: examines a data set before training."""

from tutelage.data.check.report import DataReport, SplitFinding, examine
from tutelage.data.index import SPLITS

__all__ = ["SPLITS", "SplitFinding", "DataReport", "examine"]
