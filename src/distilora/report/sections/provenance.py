"""How it was done: data, layers, guards, versions, machine; and which runs are void."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from distilora.data.records import PARTS
from distilora.report.blocks import Section, Table
from distilora.report.making import brief, making_of_method
from distilora.report.records import Comparison, MethodRow
from distilora.report.run_records import MadeWith
from distilora.report.wording import MISSING, count, encoder_name, printable, source_name
from distilora.runs import DataIdentity, Result, RunRecord

Rows = tuple[tuple[str, ...], ...]


def provenance_section(comparison: Comparison, records: Sequence[RunRecord]) -> Section:
    """Return data, methods, versions and machine."""
    return Section(
        "method",
        "How it was done",
        (
            Table("Data", ("what", "value"), _data(comparison.data), numeric=False),
            Table(
                "Methods; layers are those that were kept of encoder or teacher, counted from 1",
                ("method", "kind", "layers", "epochs run", "epoch kept", "guards passed by every valid run"),
                methods_table(comparison, records, rows=comparison.methods),
                numeric=False,
            ),
            Table(
                "Encoder, versions and machine",
                ("what", "value"),
                _surroundings(comparison.made_with),
                numeric=False,
            ),
        ),
    )


def void_section(comparison: Comparison) -> Section:
    """Return every void run with its reason; empty where there is none."""
    rows = tuple(
        (printable(row.method), str(void.seed), printable(void.reason))
        for row in comparison.methods
        for void in row.void
    )
    table = Table("Runs whose numbers would mean nothing, and why", ("method", "seed", "reason"), rows, numeric=False)
    return Section("void", "Void runs", (table,) if rows else ())


def _data(data: DataIdentity) -> Rows:
    """Return what the runs saw, as pairs of name and value."""
    parts = ", ".join(f"{count(data.part_rows.get(part))} {part}" for part in PARTS)
    return (
        ("source", source_name(data.source)),
        ("comments", count(data.rows)),
        ("split", f"{parts}; seed {data.split_seed}"),
        ("classes", ", ".join(printable(name) for name in data.label_names)),
        ("positive classes", ", ".join(printable(name) for name in data.positive) or "not said"),
        ("SHA-256 of the data", printable(data.sha256)),
    )


def methods_table(comparison: Comparison, records: Sequence[RunRecord], *, rows: Sequence[MethodRow]) -> Rows:
    """Return of some methods what each is, its layers, epochs (by seed where they differ) and guards."""
    return tuple(
        _method(
            row,
            [run.result for run in records if run.result.method == row.method],
            kind=brief(making_of_method(comparison, records, row)),
        )
        for row in rows
    )


def _method(row: MethodRow, results: Sequence[Result], *, kind: str) -> tuple[str, ...]:
    valid = [result for result in results if result.seed in row.seeds]
    return (
        printable(row.method),
        kind,
        ", ".join(map(str, row.layers)) if row.layers else MISSING,
        _distinct(_shown(one.epochs) for one in row.by_seed),
        _distinct(_shown(one.best_epoch) for one in row.by_seed),
        ", ".join(printable(guard) for guard in _passed_by_all(valid)) or MISSING,
    )


def _shown(value: int | None) -> str:
    return MISSING if value is None else str(value)


def _distinct(values: Iterable[str]) -> str:
    return " / ".join(dict.fromkeys(printable(value) for value in values)) or MISSING


def _passed_by_all(results: Sequence[Result]) -> list[str]:
    """Return the guards that every run passed, in the order of the first."""
    return [guard for guard in (results[0].guards if results else ()) if all(guard in r.guards for r in results)]


def _surroundings(known: MadeWith) -> Rows:
    """Return encoder, library versions and machine as pairs; values that differ between runs are all told."""
    return (
        ("encoder", _distinct(encoder_name(encoder.name) for encoder in known.encoders)),
        ("SHA-256 of the encoder", _distinct(encoder.sha256 for encoder in known.encoders)),
        ("longest input", _distinct(f"{encoder.max_length} tokens" for encoder in known.encoders)),
        *((printable(name), _distinct(versions)) for name, versions in known.versions.items()),
        ("machine", _distinct(known.machines)),
    )
