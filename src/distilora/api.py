"""The main job as one call: train every method, evaluate, write the report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from distilora.config import ExperimentSettings
from distilora.experiment.materials import prepare
from distilora.experiment.runner import run_methods
from distilora.export.experiments import export_methods
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
    bundles: Mapping[str, Path]
    """The bundle of each method that has one."""


def compare(
    settings: ExperimentSettings,
    folder: str | Path,
    *,
    export: bool = True,
    tell: Callable[[str], None] = logger.info,
) -> Outcome:
    """Train and evaluate every method with every seed, write report and bundles, and return what it shows.

    Runs that are complete are read, one that was broken off goes on where it stopped.

    Args:
        settings: of the experiment, as :func:`distilora.read_experiment` returns them.
        folder: where runs, report and bundles are kept; one that holds another experiment is refused.
        export: whether each method gets its bundle, of its seed that is best on validation.
        tell: takes one line on what has been decided or done.

    Raises:
        DistiloraError: comments, encoder, settings or folder cannot be used.
    """
    materials = prepare(settings)
    run_methods(materials, Path(folder), tell=tell)
    records = load_experiment(Path(folder))  # with the methods and seeds of earlier calls
    report = write_report(records, Path(folder))
    bundles = export_methods(records, materials, Path(folder), tell=tell) if export else {}
    comparison = compare_runs(records)
    return Outcome(comparison=comparison, findings=tuple(findings(comparison)), report=report, bundles=bundles)
