"""Data as it is: what a data set holds, judged before anything is trained on it."""

from tutelage.data.check.report import SPLITS, DataReport, SplitFinding, examine

__all__ = ["SPLITS", "SplitFinding", "DataReport", "examine"]
