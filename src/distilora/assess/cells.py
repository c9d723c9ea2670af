"""Cells of a source with other columns than text and label, each row whole or a fault told with its number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from distilora.data.faults import fault_line, listed, nearest, shown
from distilora.data.records import Fault
from distilora.data.tables import Table
from distilora.errors import DataError

Entry = TypeVar("Entry")


def require_columns(table: Table, names: Sequence[str], *, hint: str = "") -> None:
    """Refuse a table that lacks a column.

    Args:
        table: the source.
        names: columns that it must have.
        hint: what else to say of them, in words.

    Raises:
        DataError: a column is not there.
    """
    for name in names:
        if name not in table.columns:
            raise DataError(
                f"{table.source}: no column {shown(name)}{nearest(name, table.columns)}{hint and f'; {hint}'} "
                f"(columns: {listed(table.columns)})"
            )


def read_entries(
    table: Table, columns: Sequence[str], entry: Callable[[Sequence[object]], Entry | str], *, skip: bool | None = None
) -> tuple[list[Entry], list[Fault]]:
    """Return what is made of every row that can be used, and the faults of the others.

    Args:
        table: the source.
        columns: to read.
        entry: gives what a row's cells mean, or in words why they mean nothing.
        skip: whether faulty rows are left out; absent: they cannot be, whatever is asked for.

    Raises:
        DataError: a row cannot be used and may not be skipped, or no row is left.
    """
    entries: list[Entry] = []
    faults: list[Fault] = []
    for number, row in enumerate(table.rows(columns), start=1):
        made = row.problem or entry(row.values)
        if isinstance(made, str):
            faults.append(Fault(number, f"{made} ({row.place})" if row.place else made))
        else:
            entries.append(made)
    if faults and (not skip or not entries):
        raise DataError(
            f"{fault_line(table.source, faults[0])}; {len(faults):,} of {len(entries) + len(faults):,} rows cannot be "
            f"used: mend them{', or leave them out with --set data.faults=skip' if skip is False else ''}"
        )
    if not entries:
        raise DataError(f"{table.source}: there is a header but no row; add one row for each comment")
    return entries, faults


def name_in(cell: object) -> str | None:
    """Return the name that a cell holds, or ``None`` where it is empty or missing.

    Example:
        >>> name_in(" women "), name_in(""), name_in(float("nan"))
        ('women', None, None)
    """
    if cell is None or cell != cell:  # noqa: PLR0124 - only NaN, a missing cell of Parquet, differs from itself
        return None
    return " ".join(str(cell).split()) or None
