"""Data as it is: what a data set holds, judged before anything is trained on it."""

from tutelage.data.check.report import SPLITS, Noticed, Report, examine

__all__ = ["SPLITS", "Noticed", "Report", "examine"]
