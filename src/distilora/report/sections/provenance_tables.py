"""How the runs of a report were made: data, layers, guards, versions, machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from distilora.data.records import PARTS
from distilora.report.records import Comparison, MethodRow
from distilora.report.wording import MISSING, count, printable
from distilora.runs import DataIdentity, Result, RunRecord

Rows = tuple[tuple[str, ...], ...]


def data_table(data: DataIdentity) -> Rows:
    """Return what the runs saw, as pairs of name and value."""
    parts = ", ".join(f"{count(data.part_rows.get(part))} {part}" for part in PARTS)
    return (
        ("source", printable(data.source)),
        ("comments", count(data.rows)),
        ("split", f"{parts}; seed {data.split_seed}"),
        ("classes", ", ".join(printable(name) for name in data.label_names)),
        ("positive classes", ", ".join(printable(name) for name in data.positive) or "not said"),
        ("SHA-256 of the data", printable(data.sha256)),
    )


def methods_table(comparison: Comparison, records: Sequence[RunRecord]) -> Rows:
    """Return each method's kind, layers, epochs (by seed where they differ) and guards."""
    return tuple(
        _method(row, [run.result for run in records if run.result.method == row.method]) for row in comparison.methods
    )


def _method(row: MethodRow, results: Sequence[Result]) -> tuple[str, ...]:
    valid = [result for result in results if result.seed in row.seeds]
    return (
        printable(row.method),
        row.kind,
        ", ".join(map(str, row.layers)) if row.layers else MISSING,
        _distinct(_shown(result.epochs) for result in valid),
        _distinct(_shown(result.best_epoch) for result in valid),
        ", ".join(printable(guard) for guard in _passed_by_all(valid)) or MISSING,
    )


def _shown(value: int | None) -> str:
    return MISSING if value is None else str(value)


def _distinct(values: Iterable[str]) -> str:
    return " / ".join(dict.fromkeys(printable(value) for value in values)) or MISSING


def _passed_by_all(results: Sequence[Result]) -> list[str]:
    """Return the guards that every run passed, in the order of the first."""
    return [guard for guard in (results[0].guards if results else ()) if all(guard in r.guards for r in results)]


def surroundings_table(records: Sequence[RunRecord]) -> Rows:
    """Return encoder, library versions and machine as pairs; values that differ between runs are all told."""
    results = [record.result for record in records]
    encoders = [result.encoder for result in results if result.encoder is not None]
    libraries = dict.fromkeys(name for result in results for name in result.versions)
    return (
        ("encoder", _distinct(encoder.name for encoder in encoders)),
        ("SHA-256 of the encoder", _distinct(encoder.sha256 for encoder in encoders)),
        ("longest input", _distinct(f"{encoder.max_length} tokens" for encoder in encoders)),
        *((printable(name), _distinct(r.versions[name] for r in results if name in r.versions)) for name in libraries),
        ("machine", _distinct(result.machine for result in results)),
    )
