"""What a comparison shows, in plain sentences, each with the question that it answers."""

from __future__ import annotations

from distilora.report.findings.questions import Finding, answered, findings

__all__ = ["Finding", "answered", "findings"]
