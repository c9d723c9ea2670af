"""Rows with what a bundle says of them, as CSV, TSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from distilora.bundles.predictions import Predictions
from distilora.scoring.forms import DELIMITERS, Form, Rows, require_pyarrow

Write = Callable[[bytes], object]
_SIX_DIGITS = "{:.6f}".format


@dataclass(frozen=True)
class AddedColumns:
    """Names of the columns that scoring adds."""

    label: str
    probabilities: tuple[str, ...]
    """One for each class, in the order of the bundle's labels."""
    positive: str | None
    """Absent where the bundle has no positive classes."""
    cut: str

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, in the order in which they are written."""
        return (self.label, *self.probabilities, *([self.positive] if self.positive else []), self.cut)


def added_columns(labels: Sequence[str], *, positive: bool, prefix: str = "") -> AddedColumns:
    """Return the names of the added columns.

    Args:
        labels: names of the bundle's classes.
        positive: whether some of them are positive.
        prefix: put before every name.

    Example:
        >>> added_columns(["civil", "toxic"], positive=True, prefix="my_").names
        ('my_label', 'my_probability_civil', 'my_probability_toxic', 'my_positive_probability', 'my_cut')
    """
    return AddedColumns(
        label=f"{prefix}label",
        probabilities=tuple(f"{prefix}probability_{label}" for label in labels),
        positive=f"{prefix}positive_probability" if positive else None,
        cut=f"{prefix}cut",
    )


class RowWriter(Protocol):
    """Writes one file from its beginning, or on from the end of a chunk."""

    def begin(self) -> None:
        """Write what stands before the first row."""

    def rows(self, rows: Rows, predictions: Predictions) -> None:
        """Write rows and what is said of each; both have the same length."""

    def end(self) -> None:
        """Write what stands after the last row."""

    def stop(self) -> None:
        """Write nothing more, because something went wrong."""


def scored_schema(schema: Any, added: AddedColumns) -> Any:
    """Return a ``pyarrow.Schema`` with the added columns behind those that are there."""
    pa = require_pyarrow()
    kinds = [pa.string(), *[pa.float32()] * (len(added.names) - 2), pa.bool_()]
    for name, kind in zip(added.names, kinds, strict=True):
        schema = schema.append(pa.field(name, kind))
    return schema


def scored_batch(rows: Any, predictions: Predictions, *, schema: Any) -> Any:
    """Return a ``pyarrow.RecordBatch`` with what is said of each row behind it.

    Args:
        rows: ``pyarrow.RecordBatch`` of them.
        predictions: of as many texts.
        schema: as of :func:`scored_schema`.
    """
    pa = require_pyarrow()
    added = [
        pa.array(predictions.label_names, pa.string()).take(pa.array(predictions.labels)),
        *(pa.array(np.ascontiguousarray(column)) for column in _numbers(predictions).T),
        pa.array(predictions.cut),
    ]
    return pa.RecordBatch.from_arrays([*rows.columns, *added], schema=schema)


def row_writer(form: Form, columns: Sequence[str], added: AddedColumns, *, write: Write, schema: Any) -> RowWriter:
    """Return what writes rows in one form.

    Args:
        form: the form.
        columns: names of the columns that the rows have.
        added: names of those that are put after them.
        write: takes all bytes.
        schema: ``pyarrow.Schema`` of the rows; absent: all columns are strings. For Parquet only.

    Raises:
        MissingExtraError: Parquet without pyarrow.
    """
    if form == "parquet":
        return _ParquetWriter(columns, added, write=write, schema=schema)
    if form == "jsonl":
        return _JsonLinesWriter(added, write=write)
    return _DelimitedWriter(columns, added, write=write, delimiter=DELIMITERS[form])


class _DelimitedWriter:
    """RFC 4180, in UTF-8; TSV is the same with tabs."""

    def __init__(self, columns: Sequence[str], added: AddedColumns, *, write: Write, delimiter: str) -> None:
        self._header = [*columns, *added.names]
        self._write = write
        self._delimiter = delimiter

    def begin(self) -> None:
        self._lines([self._header])

    def rows(self, rows: Rows, predictions: Predictions) -> None:
        names, cut = predictions.label_names, ("false", "true")
        cells = [
            [names[label], *map(_SIX_DIGITS, numbers), cut[is_cut]] for label, numbers, is_cut in _by_row(predictions)
        ]
        self._lines(list(map(list.__add__, rows, cells)))

    def end(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def _lines(self, rows: Sequence[Sequence[str]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=self._delimiter, lineterminator="\r\n").writerows(rows)
        self._write(text.getvalue().encode())


class _JsonLinesWriter:
    """Each object goes on behind its last value, so that all of it stays as it was written."""

    def __init__(self, added: AddedColumns, *, write: Write) -> None:
        numbers = [*added.probabilities, *([added.positive] if added.positive else [])]
        keys = [json.dumps(name, ensure_ascii=False).replace("%", "%%") for name in (added.label, *numbers, added.cut)]
        pairs = [f"{keys[0]}: %s", *(f"{key}: %.6f" for key in keys[1:-1]), f"{keys[-1]}: %s"]
        self._added = f", {', '.join(pairs)}}}\n"
        self._write = write

    def begin(self) -> None:
        pass

    def rows(self, rows: Rows, predictions: Predictions) -> None:
        names = [json.dumps(name, ensure_ascii=False) for name in predictions.label_names]
        cut = ("false", "true")
        lines = [
            item.removesuffix("}") + self._added % (names[label], *numbers, cut[is_cut])
            for item, (label, numbers, is_cut) in zip(rows, _by_row(predictions), strict=True)
        ]
        self._write("".join(lines).encode())

    def end(self) -> None:
        pass

    def stop(self) -> None:
        pass


class _ParquetWriter:
    """One row group a chunk; columns keep their types, probabilities are 32-bit floats."""

    def __init__(self, columns: Sequence[str], added: AddedColumns, *, write: Write, schema: Any) -> None:
        pa = require_pyarrow()
        self._schema = scored_schema(schema or pa.schema([(name, pa.string()) for name in columns]), added)
        self._sink = _Sink(write)
        self._writer: Any = None

    def begin(self) -> None:
        import pyarrow.parquet as pq

        self._writer = pq.ParquetWriter(self._sink, self._schema)

    def rows(self, rows: Rows, predictions: Predictions) -> None:
        self._writer.write_batch(scored_batch(rows, predictions, schema=self._schema))

    def end(self) -> None:
        self._writer.close()

    def stop(self) -> None:
        # pyarrow would write the file's end some time later, when it forgets the writer.
        self._sink.write_nothing_more()
        if self._writer is not None:
            self._writer.close()


class _Sink(io.RawIOBase):
    """What pyarrow can write to."""

    def __init__(self, write: Write) -> None:
        super().__init__()
        self._write = write

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._write(bytes(content))
        return len(content)

    def write_nothing_more(self) -> None:
        self._write = len


def _numbers(predictions: Predictions) -> NDArray[np.float32]:
    """Return the numbers that are written of each text, shape (texts, classes), or one more with positive classes."""
    if predictions.positive_probability is None:
        return predictions.probabilities
    return np.column_stack([predictions.probabilities, predictions.positive_probability])


def _by_row(predictions: Predictions) -> zip[tuple[int, list[float], bool]]:
    return zip(predictions.labels.tolist(), _numbers(predictions).tolist(), predictions.cut.tolist(), strict=True)
