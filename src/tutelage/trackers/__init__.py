"""Trackers: services that show runs beside each other, fed with the events of a run."""

from tutelage.trackers.backends import check_trackers
from tutelage.trackers.follow import with_tracked_report, with_trackers

__all__ = ["check_trackers", "with_tracked_report", "with_trackers"]
