"""A report's numbers as a table for spreadsheets and programs: one row for each run."""

from __future__ import annotations

from collections.abc import Sequence

from distilora.data.cells import csv_line
from distilora.evaluation.records import Evaluation
from distilora.runs import Result, RunRecord

Cell = str | int | float | None


def to_csv(records: Sequence[RunRecord]) -> str:
    """Return one row for each method and seed, ordered by both, with numbers in full precision.

    What is missing is an empty cell. A text that a spreadsheet would run as a formula has ``'`` before it.
    """
    results = sorted((record.result for record in records), key=lambda result: (result.method, result.seed))
    rows = [_row(result) for result in results]
    columns = dict.fromkeys(name for row in rows for name in row)
    return "".join([csv_line(columns), *(csv_line(row.values()) for row in rows)])


def _row(result: Result) -> dict[str, Cell]:
    return {
        "method": result.method,
        "kind": result.kind,
        "seed": result.seed,
        "void": result.void,
        **_scores(result.test if result.void is None else None),
        "validation_macro_f1": result.validation.macro_f1 if result.validation and result.void is None else None,
        "parameters": result.parameters,
        "trainable_parameters": result.trainable_parameters,
        "size_bytes": result.size_bytes,
        "training_seconds": result.training_seconds,
        "training_memory_mib": result.training_memory_mib,
        "epochs": result.epochs,
        "best_epoch": result.best_epoch,
        "layers": " ".join(map(str, result.layers)) if result.layers else None,
        **_class_scores(result),
        "guards": " ".join(result.guards),
        "source": result.data.source,
        "data_sha256": result.data.sha256,
        "split_seed": result.data.split_seed,
        "encoder": result.encoder.name if result.encoder else None,
        "encoder_sha256": result.encoder.sha256 if result.encoder else None,
        "machine": result.machine,
    }


def _scores(test: Evaluation | None) -> dict[str, Cell]:
    return {
        "test_rows": test.rows if test else None,
        "macro_f1": test.macro_f1 if test else None,
        "macro_f1_low": test.macro_f1_interval.low if test else None,
        "macro_f1_high": test.macro_f1_interval.high if test else None,
        "accuracy": test.accuracy if test else None,
        "accuracy_low": test.accuracy_interval.low if test else None,
        "accuracy_high": test.accuracy_interval.high if test else None,
        "weighted_f1": test.weighted_f1 if test else None,
        "log_loss": test.log_loss if test else None,
        "roc_auc": test.roc_auc if test else None,
        "constant": test.constant if test else None,
    }


def _class_scores(result: Result) -> dict[str, Cell]:
    """Return precision, recall, F1 and support of each class, as columns that name it."""
    per_class = result.test.per_class if result.test and result.void is None else {}
    return {
        f"{measure}: {name}": getattr(per_class[name], measure) if name in per_class else None
        for name in result.data.label_names
        for measure in ("precision", "recall", "f1", "support")
    }
