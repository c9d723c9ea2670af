"""The main job as one call: train every method, evaluate, measure what else there is to know, write the report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from distilora.analysis.layers import analyse_experiment
from distilora.analysis.noise import measure_noise
from distilora.assess.experiments import assess_suites, require_suite_settings
from distilora.bench.costs import CostedModel, measure_costs
from distilora.config import ExperimentSettings
from distilora.errors import ConfigError, DistiloraError
from distilora.evaluation.labelled_texts import labelled_texts
from distilora.experiment.materials import Materials, prepare
from distilora.experiment.runner import Engine, in_turn, run_methods
from distilora.export.experiments import bundle_of, export_methods
from distilora.export.finding import best_run
from distilora.layout import BUNDLE_FOLDER
from distilora.report import Comparison, compare_runs, findings, read_evidence, write_report
from distilora.report.evidence import keep_test_rows, write_report_settings
from distilora.runs import RunRecord, load_experiment, locked
from distilora.training.processes import by_main, main_first

Tell = Callable[[str], None]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a comparison came to."""

    comparison: Comparison
    """Every number of the report; one row for each method, the best first."""
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
    engine: Engine = in_turn,
    tell: Tell = logger.info,
) -> Outcome:
    """Train and evaluate every method with every seed, write report and bundles, and return what it shows.

    Runs that are complete are read, one that was broken off goes on where it stopped; so does what is measured
    afterwards. Processes that ``torchrun`` or ``accelerate launch`` started together train each model together; the
    main one alone writes and tells, and all of them return the same.

    Args:
        settings: of the experiment, as :func:`distilora.read_experiment` returns them.
        folder: where runs, report and bundles are kept; one that holds another experiment is refused.
        export: whether each method gets its bundle, of its seed that is best on validation.
        engine: makes the runs; absent: one after another. ``distilora.scale.runs.RayRuns()`` makes them on Ray.
        tell: takes one line on what has been decided or done.

    Raises:
        DistiloraError: comments, encoder, settings or folder cannot be used.
    """
    experiment = Path(folder)
    materials = main_first(lambda: prepare(settings))
    by_main(lambda: _check_wishes(settings, materials))
    run_methods(materials, experiment, engine=engine, tell=tell)
    return by_main(lambda: _outcome(materials, experiment, export=export, tell=tell))


def _outcome(materials: Materials, experiment: Path, *, export: bool, tell: Tell) -> Outcome:
    """Return what the complete runs come to, their bundles, measurements and report written."""
    records = load_experiment(experiment)  # with the methods and seeds of earlier calls
    bundles = export_methods(records, materials, experiment, tell=tell) if export else {}
    with locked(experiment):
        _measure(records, materials, experiment, tell=tell)
        evidence = read_evidence(experiment, records)
        comparison = compare_runs(records, evidence)
        report = write_report(comparison, records, experiment, evidence=evidence)
    return Outcome(comparison=comparison, findings=tuple(findings(comparison)), report=report, bundles=bundles)


def _check_wishes(settings: ExperimentSettings, materials: Materials) -> None:
    """Refuse what could not be answered at the end, before the long work begins."""
    require_suite_settings(settings.suites, materials.comments.positive)
    if settings.report.min_recall is not None and not materials.comments.positive:
        raise ConfigError("report.min_recall: recall of which classes? Name them in data.positive (--positive CLASS)")


def _measure(records: Sequence[RunRecord], materials: Materials, experiment: Path, *, tell: Tell) -> None:
    """Write what is known of the runs beside their scores; what cannot be measured is told and left out."""
    settings = materials.settings
    write_report_settings(experiment, settings.report, goal=settings.export.goal)
    keep_test_rows(experiment, labelled_texts(materials.comments, materials.splits.part("test")))
    models = _models(records, experiment)
    steps: dict[str, Callable[[], object]] = {}
    if settings.evidence.noise_rows:
        steps["noise"] = partial(measure_noise, records, materials, rows=settings.evidence.noise_rows, tell=tell)
    if settings.evidence.layers:
        steps["layers"] = partial(analyse_experiment, records, materials, tell=tell)
    folders = {name: model.folder for name, model in models.items()}
    steps["suites"] = partial(assess_suites, settings.suites, folders, experiment, tell=tell)
    if settings.evidence.costs and models:
        steps["costs"] = partial(
            measure_costs,
            models,
            materials.words("test"),
            experiment=experiment,
            rounds=settings.evidence.latency_rounds,
            threads=settings.training.get("threads"),
            tell=tell,
        )
    for name, step in steps.items():
        try:
            step()
        except DistiloraError as error:
            tell(f"{name}: not measured: {error}")


def _models(records: Sequence[RunRecord], experiment: Path) -> dict[str, CostedModel]:
    """Return what each method would ship, the teacher's first: the bundle of its run that is best on validation.

    Where there is none, or one of another run, it is that run itself.
    """
    models: dict[str, CostedModel] = {}
    methods = dict.fromkeys(record.result.method for record in records if record.result.kind != "baseline")
    for name in sorted(methods, key=lambda method: method != "teacher"):
        best = best_run([record for record in records if record.result.method == name])
        if best is not None:
            bundle = experiment / name / BUNDLE_FOLDER
            models[name] = CostedModel(best.result.seed, bundle if bundle_of(best, bundle) else best.folder)
    return models
