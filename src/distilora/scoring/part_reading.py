"""The rows of one part, in chunks: the same that a reader of the whole file makes."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from distilora.data.columns import choose_text
from distilora.data.delimited import open_delimited, read_entries
from distilora.data.faults import first_line, listed
from distilora.data.jsonlines import open_json_lines, read_lines
from distilora.data.parquet import values_of
from distilora.data.tables import Row, Table
from distilora.errors import DataError
from distilora.scoring.forms import DELIMITERS, require_pyarrow, rows_for
from distilora.scoring.inputs import InputFile
from distilora.scoring.parts import Part, PartsJob
from distilora.scoring.places import open_place
from distilora.scoring.reading import (
    PARQUET_BUFFER,
    Chunk,
    Source,
    batch_chunk,
    delimited_items,
    in_chunks,
    json_items,
    refuse_names,
)

_BEGINNING_BYTES = 1 << 22


def open_input(
    file: InputFile, *, text: str | None, added: frozenset[str], columns: tuple[str, ...] | None = None
) -> Source:
    """Return one of a job's files with its columns.

    Args:
        file: the file.
        text: the text column; absent: guessed where there is one good guess.
        added: names of the columns that scoring adds; the file must have none of them.
        columns: the job's, once they are known; those are the keys of JSON lines then.

    Raises:
        DataError: it cannot be read, the text column is unclear, or a name is there already or twice.
        MissingExtraError: Parquet without pyarrow.
    """
    table = _table(file)
    if file.form == "jsonl" and columns is not None:
        table = replace(table, columns=columns)
    text_column = choose_text(table, text=text)
    refuse_names(table, added=added, out_form="parquet")
    return Source(table, Path(file.name), file.form, text_column, "parquet", added)


def arrow_schema(file: InputFile) -> Any:
    """Return the ``pyarrow.Schema`` of a Parquet file.

    Raises:
        DataError: it is none that can be read.
    """
    pa = require_pyarrow()
    import pyarrow.parquet as pq

    place = open_place(file.name)
    try:
        with place.files.open(place.path, "rb") as stream:
            return pq.read_schema(stream)
    except (pa.ArrowException, OSError) as failure:
        raise DataError(f"{file.name}: not a readable Parquet file: {first_line(failure)}") from None


def job_schema(job: PartsJob) -> Any:
    """Return the ``pyarrow.Schema`` of the input's columns as they are written."""
    pa = require_pyarrow()
    if job.schema_base64 is None:
        return pa.schema([(name, pa.string()) for name in job.columns])
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(job.schema_base64)))


def read_part(source: Source, file: InputFile, part: Part, *, job: PartsJob) -> Iterator[Chunk]:
    """Yield the chunks of a part; their rows are ``pyarrow.RecordBatch`` of the job's columns.

    Raises:
        DataError: it cannot be read, is no longer what it was when it was cut, or does not fit the job's columns.
    """
    chunks = _parquet_chunks if file.form == "parquet" else _text_chunks
    read = 0
    for chunk in chunks(source, file, part, job=job):
        read += chunk.read
        chunk.rows = _as_job_has_them(chunk.rows, file, job=job)
        yield chunk
    if read != part.rows:
        raise DataError(f"{file.name}: has changed while it was scored; start anew with --overwrite")


def _table(file: InputFile) -> Table:
    """Return a file, near or far, as a table whose columns are known."""
    if file.form == "parquet":
        return Table(file.name, tuple(arrow_schema(file).names), _no_rows)
    place = open_place(file.name)
    beginning = _Beginning(place.read(0, min(file.size_bytes, _BEGINNING_BYTES)) if file.size_bytes else b"")
    if file.form == "jsonl":
        return open_json_lines(beginning, source=file.name)
    return open_delimited(beginning, source=file.name, delimiter=DELIMITERS[file.form])


def _text_chunks(source: Source, file: InputFile, part: Part, *, job: PartsJob) -> Iterator[Chunk]:
    content = open_place(file.name).read(part.start_byte, part.end_byte) if part.rows else b""
    stream = io.BytesIO(content)
    if file.form in DELIMITERS:
        delimiter = DELIMITERS[file.form]
        entries = read_entries(stream, delimiter=delimiter, line=part.lines_before, offset=part.start_byte)
        items = delimited_items(source, entries, before=part.rows_before)
    else:
        lines = read_lines(stream, before=part.lines_before, offset=part.start_byte)
        items = json_items(source, lines, before=part.rows_before)
    convert = partial(rows_for, "parquet", source.table.columns)
    yield from in_chunks(items, rows=job.chunk_rows, share=lambda: 0.0, convert=convert)


def _parquet_chunks(source: Source, file: InputFile, part: Part, *, job: PartsJob) -> Iterator[Chunk]:
    pa = require_pyarrow()
    import pyarrow.parquet as pq

    place, read = open_place(file.name), part.rows_before
    try:
        with (
            place.files.open(place.path, "rb") as stream,
            pq.ParquetFile(stream, pre_buffer=False, buffer_size=PARQUET_BUFFER) as opened,
        ):
            for batch in _batches(opened, part, rows=job.chunk_rows):
                chunk = batch_chunk(source, batch, before=read)
                read += chunk.read
                yield chunk
    except (pa.ArrowException, OSError) as failure:
        raise DataError(f"{file.name}: the Parquet file is damaged: {first_line(failure)}") from None


def _batches(opened: Any, part: Part, *, rows: int) -> Iterator[Any]:
    """Yield the rows of a part, which lie in one row group, and begin there with a whole chunk."""
    if not part.rows:
        return
    before = group = 0
    while before + opened.metadata.row_group(group).num_rows <= part.rows_before:
        before += opened.metadata.row_group(group).num_rows
        group += 1
    skip, left = part.rows_before - before, part.rows
    for batch in opened.iter_batches(rows, row_groups=[group]):
        if skip >= batch.num_rows:
            skip -= batch.num_rows
            continue
        some = batch.slice(skip, left)
        skip, left = 0, left - some.num_rows
        yield some
        if not left:
            return


def _as_job_has_them(batch: Any, file: InputFile, *, job: PartsJob) -> Any:
    """Return a batch with the job's columns in their order; one that the file lacks is empty."""
    pa = require_pyarrow()
    names = set(batch.schema.names)
    late = sorted(names - set(job.columns))
    if late:
        raise DataError(
            f"{file.name}: has columns ({listed(late)}) that the job's first file lacks ({listed(job.columns)}); "
            "score it into a folder of its own"
        )
    schema = job_schema(job)
    columns = [
        _cast(batch.column(field.name), field, file, job=job)
        if field.name in names
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _cast(column: Any, field: Any, file: InputFile, *, job: PartsJob) -> Any:
    """Return a column with the job's type; strings of lists, tables and bytes are those of a file that is alone."""
    pa = require_pyarrow()
    try:
        if job.schema_base64 is None and _arrow_has_no_string(column.type):
            return rows_for("parquet", [field.name], [[value] for value in values_of(column)]).column(0)
        return column.cast(field.type)
    except (pa.ArrowException, ValueError, OverflowError) as failure:  # the latter two: a time that Python cannot hold
        raise DataError(
            f'{file.name}: column "{field.name}" is not {field.type}, as in the first file: {first_line(failure)}'
        ) from None


def _arrow_has_no_string(kind: Any) -> bool:
    """Return whether values of a ``pyarrow.DataType`` cannot be cast to strings, or only those that are UTF-8."""
    types = require_pyarrow().types
    kinds = (types.is_nested, types.is_binary, types.is_large_binary, types.is_fixed_size_binary)
    return any(is_such(kind) for is_such in kinds)


def _no_rows(_columns: Sequence[str]) -> Iterator[Row]:
    """Return none: rows are read part by part."""
    return iter(())


class _Beginning:
    """The beginning of a far text file, for readers that open a path to find its columns."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def open(self, _mode: str, /) -> io.BytesIO:
        """Return it from its first byte."""
        return io.BytesIO(self._content)
