"""Tables on one method alone: its scores by seed, its classes, what it costs, how it was made."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from distilora.evaluation.costs import MethodCosts
from distilora.report.blocks import Cell, Table
from distilora.report.records import Comparison, Difference, MethodRow, Score
from distilora.report.run_records import SeedRow
from distilora.report.sections.cells import (
    method_pages,
    shown_interval,
    shown_mean,
    shown_p,
    shown_score,
    shown_verdict,
)
from distilora.report.sections.provenance import methods_table
from distilora.report.wording import MISSING, count, duration, number, points, points_span, printable
from distilora.runs import CONFIG_FILE, RunRecord

_Across = Callable[[MethodRow], Score | None]
_BySeed = Callable[[SeedRow], float | None]
_MEASURES: Mapping[str, tuple[_Across, _BySeed]] = {
    "macro-F1": (lambda row: row.macro_f1, lambda one: one.macro_f1),
    "accuracy": (lambda row: row.accuracy, lambda one: one.accuracy),
    "weighted F1": (lambda row: row.weighted_f1, lambda one: one.weighted_f1),
    "log loss": (lambda row: row.log_loss, lambda one: one.log_loss),
    "ROC-AUC": (lambda row: row.roc_auc, lambda one: one.roc_auc),
    "Brier score": (lambda row: row.brier_score, lambda one: one.brier_score),
    "calibration error": (lambda row: row.expected_calibration_error, lambda one: one.expected_calibration_error),
    "validation macro-F1": (lambda row: row.validation_macro_f1, lambda one: one.validation_macro_f1),
}


def scores_by_seed(row: MethodRow) -> tuple[Table, ...]:
    """Return every measure over all seeds and of each; nothing where no run of the method is valid."""
    if row.is_void:
        return ()
    rows = tuple(
        (measure, shown_mean(score(row)), shown_interval(score(row)), *(number(of(one)) for one in row.by_seed))
        for measure, (score, of) in _MEASURES.items()
    )
    columns = ("measure", "mean ± sd" if len(row.seeds) > 1 else "mean", "95 % interval")
    seeds = tuple(f"seed {one.seed}" for one in row.by_seed)
    return (Table("Scores on the test rows", (*columns, *seeds), rows, sortable=False),)


def class_scores(row: MethodRow, support: Mapping[str, int]) -> tuple[Table, ...]:
    """Return precision, recall and F1 of each class with their intervals; nothing where there is no score."""
    if row.classes is None:
        return ()
    rows = tuple(
        (printable(name), count(support.get(name)), *map(shown_score, (of.precision, of.recall, of.f1)))
        for name, of in row.classes.items()
    )
    columns = ("class", "test rows", "precision", "recall", "F1")
    return (Table("Each class on the test rows: mean over seeds (95 % interval over rows)", columns, rows),)


def other_methods(comparison: Comparison, method: str) -> tuple[Table, ...]:
    """Return how much more macro-F1 a method has than each other that it was tested against."""
    found = {name: comparison.difference(method, name) for name in comparison.family if name != method}
    rows = tuple(_against(name, difference) for name, difference in found.items() if difference is not None)
    columns = ("other method", "points", "95 % interval", "p, corrected", "what was found")
    links = {name: f"../{path}" for name, path in method_pages(comparison).items()}
    caption = f"Macro-F1 of {printable(method)} less that of each other method, in points"
    return (Table(caption, columns, rows, links=links),) if rows else ()


def _against(other: str, difference: Difference) -> tuple[Cell, ...]:
    return (
        printable(other),
        points(difference.value),
        points_span(difference.interval) if difference.interval else MISSING,
        shown_p(difference),
        shown_verdict(difference),
    )


def measured_costs(row: MethodRow, costs: MethodCosts | None) -> tuple[Table, ...]:
    """Return what the method's model costs to train, to keep and to run, as pairs."""
    pairs = [
        ("parameters", count(row.parameters)),
        ("trained parameters", count(row.trainable_parameters)),
        ("weights", _with_unit(number(row.size_mb, 1), "MB")),
        ("training, mean over seeds", duration(row.training_seconds)),
        ("peak memory in training", _with_unit(count(row.training_memory_mib), "MiB")),
        *(_running_costs(costs) if costs else ()),
    ]
    return (Table("To train, to keep and to run", ("what", "value"), tuple(pairs), numeric=False, sortable=False),)


def _running_costs(costs: MethodCosts) -> Iterator[tuple[str, str]]:
    made_of = "exported bundle" if costs.model == "bundle" else "trained run"
    yield "measured model", f"{made_of} of seed {costs.seed}, {printable(costs.precision)}"
    yield "all that is shipped", f"{number(costs.size_mb, 1)} MB"
    for one in costs.latency:
        yield (
            f"one text of {one.tokens} tokens",
            f"{number(one.p50_ms, 1)} ms (95 of 100 within {number(one.p95_ms, 1)} ms)",
        )
    spread = f"{count(costs.texts_per_s_low)} to {count(costs.texts_per_s_high)}"
    yield "all test texts together", f"{count(costs.texts_per_s)} texts/s (rounds: {spread})"
    yield "peak memory in use", f"{count(costs.memory_peak_mib)} MiB"
    yield "time to load", duration(costs.load_seconds)


def _with_unit(shown: str, unit: str) -> str:
    return shown if shown == MISSING else f"{shown} {unit}"


def making_of(comparison: Comparison, records: Sequence[RunRecord], method: str) -> Table:
    """Return kind, layers, seeds, epochs and guards of a method, as pairs."""
    names = ("method", "kind", "layers kept", "epochs run", "epoch kept", "guards passed by every valid run")
    row = comparison.row(method)
    found = methods_table(comparison, records, rows=() if row is None else (row,))
    pairs = [pair for cells in found for pair in zip(names[1:], cells[1:], strict=True)]
    seeds = ", ".join(map(str, row.seeds)) if row else ""
    return Table(
        "Kind, layers, epochs and guards",
        ("what", "value"),
        (*pairs, ("valid seeds", seeds or MISSING)),
        numeric=False,
        sortable=False,
    )


def settings_table(records: Sequence[RunRecord], method: str) -> tuple[Table, ...]:
    """Return the settings that the method's first run was made with, as its own file has them; nothing without it."""
    for record in records:
        settings = _settings(record.folder) if record.result.method == method else None
        if settings is not None:
            rows = tuple((printable(name), printable(value)) for name, value in settings.items())
            caption = f"Settings of the run of seed {record.result.seed}, as its {CONFIG_FILE} has them"
            return (Table(caption, ("setting", "value"), rows, numeric=False),)
    return ()


def _settings(folder: Path) -> dict[str, str] | None:
    try:
        table = tomllib.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return None
    return dict(_flat(table))


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", ", ".join(map(str, value)) if isinstance(value, list) else str(value)
