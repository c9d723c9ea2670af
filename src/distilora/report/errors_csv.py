"""Doubtful test rows as files for spreadsheets: all of them, where a report lists only the first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from distilora.evaluation.disagreements import Disagreements, disagreement_lines, find_disagreements
from distilora.evaluation.label_errors import LabelErrors, find_label_errors, label_error_lines
from distilora.evaluation.labelled_texts import mean_probabilities
from distilora.report.evidence import Evidence
from distilora.report.records import Comparison
from distilora.report.sections.cells import method_pages
from distilora.report.sections.errors import DISAGREEMENTS_FILE, LABEL_ERRORS_FILE
from distilora.runs import RunRecord


def error_files(comparison: Comparison, records: Sequence[RunRecord], evidence: Evidence | None) -> dict[str, str]:
    """Return the content of each file by its path in the experiment; none where the report may show no comment.

    Args:
        comparison: fixes the teacher and the best method.
        records: the runs, with their logits.
        evidence: the test rows with their texts.
    """
    if evidence is None or evidence.test_rows is None or not evidence.settings.error_rows:
        return {}
    pages = set(method_pages(comparison).values())
    files = {
        f"{method}/{DISAGREEMENTS_FILE}": "".join(disagreement_lines(found.top))
        for method, found in all_disagreements(comparison, records, evidence).items()
        if f"{method}/report.html" in pages
    }
    errors = all_label_errors(comparison, records, evidence)
    if errors is not None:
        files[LABEL_ERRORS_FILE] = "".join(label_error_lines(errors.top))
    return files


def all_disagreements(
    comparison: Comparison, records: Sequence[RunRecord], evidence: Evidence
) -> dict[str, Disagreements]:
    """Return every row on which a method and the teacher disagree, by method; seeds are averaged."""
    teacher = _probabilities(records, comparison.teacher)
    if evidence.test_rows is None or teacher is None:
        return {}
    others = {
        row.method: _probabilities(records, row.method)
        for row in comparison.candidates
        if row.method != comparison.teacher
    }
    return {
        method: find_disagreements(evidence.test_rows, teacher, probabilities, limit=None)
        for method, probabilities in others.items()
        if probabilities is not None
    }


def all_label_errors(comparison: Comparison, records: Sequence[RunRecord], evidence: Evidence) -> LabelErrors | None:
    """Return every test row whose label is likely wrong, by the best method, seeds averaged."""
    best = _probabilities(records, comparison.best)
    if evidence.test_rows is None or best is None:
        return None
    return find_label_errors(evidence.test_rows, best, limit=None)


def _probabilities(records: Sequence[RunRecord], method: str | None) -> NDArray[np.float64] | None:
    """Return the mean over a method's seeds, shape (rows, classes), where the logits of all were kept."""
    valid = [run for run in records if run.result.method == method and run.result.test is not None]
    kept = [run.test_logits for run in valid if run.result.void is None and run.test_logits is not None]
    return mean_probabilities(np.stack(kept)) if kept and len(kept) == len(valid) else None
