"""Doubtful test rows as files for spreadsheets: all of them, where a report lists only the first."""

from __future__ import annotations

from collections.abc import Sequence

from distilora.evaluation.disagreements import disagreement_lines
from distilora.evaluation.label_errors import label_error_lines
from distilora.layout import DISAGREEMENTS_FILE, LABEL_ERRORS_FILE
from distilora.report.comparing.answers import gathered
from distilora.report.comparing.errors import disagreements, label_errors
from distilora.report.evidence import Evidence
from distilora.report.records import Comparison
from distilora.report.sections.cells import has_page
from distilora.runs import RunRecord


def error_files(comparison: Comparison, records: Sequence[RunRecord], evidence: Evidence | None) -> dict[str, str]:
    """Return the content of each file by its path in the experiment; none where the report may show no comment.

    Args:
        comparison: fixes the teacher and the best method.
        records: the runs, with their logits.
        evidence: the test rows with their texts.
    """
    rows = evidence.test_rows if evidence is not None and evidence.settings.error_rows else None
    if rows is None:
        return {}
    files = {}
    candidates = [row.method for row in comparison.candidates]
    answers = {name: gathered(name, [run for run in records if run.result.method == name]) for name in candidates}
    if comparison.teacher is not None:
        others = [answers[name] for name in candidates if name != comparison.teacher and has_page(name)]
        found = disagreements(answers[comparison.teacher], others, rows, limit=None)
        for method, one in found.items():
            files[f"{method}/{DISAGREEMENTS_FILE}"] = "".join(disagreement_lines(one.top))
    errors = label_errors(answers[comparison.best], rows, limit=None) if comparison.best is not None else None
    if errors is not None:
        files[LABEL_ERRORS_FILE] = "".join(label_error_lines(errors.top))
    return files
