"""The report of finished runs: one HTML page."""

from __future__ import annotations

from tutelage.reports.page import Report, write_report

__all__ = ["Report", "write_report"]
