"""How it was done, and which runs are void."""

from __future__ import annotations

from collections.abc import Sequence

from distilora.report.blocks import Section, Table
from distilora.report.records import Comparison
from distilora.report.sections.provenance_tables import data_table, methods_table, surroundings_table
from distilora.report.wording import printable
from distilora.runs import RunRecord


def provenance_section(comparison: Comparison, records: Sequence[RunRecord]) -> Section:
    """Return data, methods, versions and machine."""
    return Section(
        "method",
        "How it was done",
        (
            Table("Data", ("what", "value"), data_table(comparison.data), numeric=False),
            Table(
                "Methods; layers are those of the teacher, counted from 1",
                ("method", "kind", "layers", "epochs run", "epoch kept", "guards passed by every valid run"),
                methods_table(comparison, records),
                numeric=False,
            ),
            Table("Encoder, versions and machine", ("what", "value"), surroundings_table(records), numeric=False),
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
