"""The main job as one call: train every method, evaluate, write the report."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from distilora.config import ExperimentSettings
from distilora.experiment.runner import run_experiment
from distilora.report import Comparison, compare_runs, findings, write_report
from distilora.runs import load_experiment

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a comparison came to."""

    comparison: Comparison
    """One row for each method, the best first."""
    findings: tuple[str, ...]
    """What it shows, in plain sentences."""
    report: Path
    """The HTML report."""


def compare(settings: ExperimentSettings, folder: str | Path, *, tell: Callable[[str], None] = logger.info) -> Outcome:
    """Train and evaluate every method with every seed, write the report, and return what it shows.

    Runs that are complete are read, one that was broken off goes on where it stopped.

    Args:
        settings: of the experiment, as :func:`distilora.read_experiment` returns them.
        folder: where runs and report are kept; one that holds another experiment is refused.
        tell: takes one line on what has been decided or done.

    Raises:
        DistiloraError: comments, encoder, settings or folder cannot be used.
    """
    run_experiment(settings, Path(folder), tell=tell)
    records = load_experiment(Path(folder))  # with the methods and seeds of earlier calls
    report = write_report(records, Path(folder))
    comparison = compare_runs(records)
    return Outcome(comparison=comparison, findings=tuple(findings(comparison)), report=report)
