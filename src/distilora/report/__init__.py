"""Results into a comparison, and a comparison into words, tables and figures, from result files alone."""

from __future__ import annotations

from distilora.report.comparing.comparison import compare_runs
from distilora.report.evidence import Evidence, read_evidence
from distilora.report.files import write_report
from distilora.report.findings import findings
from distilora.report.records import Comparison

__all__ = ["Comparison", "Evidence", "compare_runs", "findings", "read_evidence", "write_report"]
