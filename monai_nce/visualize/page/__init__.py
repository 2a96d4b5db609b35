"""Make one HTML file of a scan and what a network made of it, to be opened from disk."""

from __future__ import annotations

from .report import Case, Report, ReportTable, write_report
from .save_report import SaveReportd, provenance_table, version_table

__all__ = [
    "Case",
    "Report",
    "ReportTable",
    "SaveReportd",
    "provenance_table",
    "version_table",
    "write_report",
]
