"""A file of comments in chunks: the texts to score, the rows they stand in, and the rows that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from distilora.data.columns import choose_text
from distilora.data.delimited import Entry, read_entries
from distilora.data.faults import first_line, listed, text_problem
from distilora.data.jsonlines import Line, read_lines
from distilora.data.opening import open_file
from distilora.data.parquet import bytes_problem, values_of
from distilora.data.tables import Table
from distilora.errors import DataError
from distilora.scoring.forms import DELIMITERS, FORMS, Form, Rows, as_json, require_pyarrow, rows_for

# A chunk ends here too, so that its memory does not grow with the length of the texts.
CHUNK_BYTES = 4_000_000
# Of a column of a row group; pyarrow would else read all of it at once.
PARQUET_BUFFER = 1 << 18


class Reject(NamedTuple):
    """One row that cannot be read."""

    row: int
    """From 1, the header and blank lines not counted."""
    place: str
    """Where else it can be found, such as ``line 840``; empty where its number says it all."""
    problem: str
    raw: str | None = None
    """Its lines as they stand in a text file, bytes that are not UTF-8 escaped; absent for Parquet."""
    values: dict[str, object] | None = None
    """By column, for Parquet."""

    def as_line(self) -> bytes:
        """Return the row as one line of the rejects file."""
        table = {key: value for key, value in self._asdict().items() if value is not None}
        return f"{as_json(table)}\n".encode()


@dataclass
class Chunk:
    """Some rows that follow each other in the file."""

    read: int = 0
    """Rows of the file, those that cannot be read among them."""
    texts: list[str] = field(default_factory=list)
    rows: Rows = field(default_factory=list)
    """Of the same rows as the texts, as the writer takes them."""
    rejects: list[Reject] = field(default_factory=list)
    share: float = 0.0
    """Of the file, that is read when the chunk is, from 0 to 1."""


@dataclass(frozen=True)
class CommentFile:
    """A file of comments whose columns are known."""

    name: str
    """As the user gave it."""
    columns: tuple[str, ...]
    text_column: str
    chunks: Callable[[int], Iterator[Chunk]]
    """Reads all rows in order, in chunks of so many; where one ends depends on the file alone."""
    schema: Any = None
    """``pyarrow.Schema`` of a Parquet file that is scored to Parquet; else absent: all columns are strings."""


@dataclass(frozen=True)
class Source:
    """A file, and how its rows are to be handed on."""

    table: Table
    path: Path
    form: Form
    text_column: str
    out_form: Form
    """The form in which they are to be written."""
    added: frozenset[str]
    """Names of the columns that scoring adds."""

    @property
    def text_index(self) -> int:
        """Where the text stands in a row."""
        return self.table.columns.index(self.text_column)


class Item(NamedTuple):
    """One row: its text and what the writer is to have of it, or the reject."""

    text: str
    row: Any
    reject: Reject | None
    size: int


def open_comment_file(source: Path, *, text: str | None, added: Collection[str], out_form: Form) -> CommentFile:
    """Return a file that can be scored.

    Args:
        source: CSV, TSV, JSON lines or Parquet, by the end of its name.
        text: the text column; absent: guessed where there is one good guess.
        added: names of the columns that scoring adds; the file must have none of them.
        out_form: the form in which its rows are to be written.

    Raises:
        DataError: the file cannot be read, the text column is unclear, or a name is there already.
        MissingExtraError: Parquet without pyarrow.
    """
    table = open_file(str(source))
    text_column = choose_text(table, text=text)
    refuse_names(table, added=added, out_form=out_form)
    form = FORMS[source.suffix.lower()]
    opened = Source(table, source, form, text_column, out_form, frozenset(added))
    read = {"csv": _delimited, "tsv": _delimited, "jsonl": _json_lines, "parquet": _parquet}[form]
    schema = _schema(source) if form == out_form == "parquet" else None
    return CommentFile(str(source), table.columns, text_column, partial(read, opened), schema)


def refuse_names(table: Table, *, added: Collection[str], out_form: Form) -> None:
    """Raise DataError if a name of a table's column is taken by those that scoring adds, or cannot be written."""
    taken = [name for name in table.columns if name in added]
    if taken:
        raise DataError(
            f'{table.source}: has a column "{listed(taken[:1])}" already; '
            "name the new columns otherwise with --prefix, such as --prefix new_"
        )
    twice = next((name for name in table.columns if table.columns.count(name) > 1), None)
    if twice is not None and out_form not in DELIMITERS:
        raise DataError(
            f'{table.source}: two columns are called "{listed([twice])}", which only .csv and .tsv can hold; '
            "give each column its own name"
        )


def _delimited(source: Source, rows: int) -> Iterator[Chunk]:
    columns, size = source.table.columns, source.path.stat().st_size
    # From CSV to TSV or back the cells are the same.
    convert = None if source.out_form in DELIMITERS else partial(rows_for, source.out_form, columns)
    with source.path.open("rb") as stream:
        entries = read_entries(stream, delimiter=DELIMITERS[source.form])
        next(entries)
        items = delimited_items(source, entries)
        yield from in_chunks(items, rows=rows, share=lambda: stream.tell() / size, convert=convert)


def delimited_items(source: Source, entries: Iterator[Entry], *, before: int = 0) -> Iterator[Item]:
    """Return the rows of a CSV or TSV file from its records, the header left out.

    Args:
        source: the file.
        entries: records that follow each other.
        before: rows of the file before them.
    """
    fields, index = len(source.table.columns), source.text_index
    for number, entry in enumerate(entries, start=before + 1):
        problem = entry.fault(fields=fields) or text_problem(entry.fields[index])
        size = sum(map(len, entry.raw))
        if problem is None:
            yield Item(entry.fields[index], entry.fields, None, size)
        else:
            yield Item("", None, Reject(number, entry.place(number), problem, raw=_raw(b"".join(entry.raw))), size)


def _json_lines(source: Source, rows: int) -> Iterator[Chunk]:
    size = source.path.stat().st_size
    # From JSON lines to JSON lines an object stays as it is written, to the digits of its numbers.
    same = source.out_form == "jsonl"
    convert = None if same else partial(rows_for, source.out_form, source.table.columns)
    with source.path.open("rb") as stream:
        items = json_items(source, read_lines(stream))
        yield from in_chunks(items, rows=rows, share=lambda: stream.tell() / size, convert=convert)


def json_items(source: Source, lines: Iterator[Line], *, before: int = 0) -> Iterator[Item]:
    """Return the rows of a JSON lines file; arguments as for :func:`delimited_items`."""
    same, columns = source.out_form == "jsonl", source.table.columns
    for number, line in enumerate(lines, start=before + 1):
        item = line.item or {}
        text = item.get(source.text_column)
        problem = line.problem or _keys_problem(source, item) or text_problem(text)
        if problem is None:
            row = line.text.strip() if same else [item.get(name) for name in columns]
            yield Item(str(text), row, None, len(line.raw))
        else:
            yield Item("", None, Reject(number, line.place(number), problem, raw=_raw(line.raw)), len(line.raw))


def _keys_problem(source: Source, item: dict[str, object]) -> str | None:
    """Return which key of an object is new among those that the beginning of the file has, if that cannot be."""
    taken = source.added.intersection(item)
    if taken:
        return f'has a key "{listed(sorted(taken)[:1])}" already; name the new columns otherwise with --prefix'
    late = () if source.out_form == "jsonl" else [key for key in item if key not in source.table.columns]
    if late:
        return (
            f'has a key "{listed(late[:1])}" that is none of the columns of the first rows ('
            f"{listed(source.table.columns)}); JSON lines can hold it: name OUT .jsonl"
        )
    return None


def _raw(lines: bytes) -> str:
    return lines.decode("utf-8", "backslashreplace").rstrip("\r\n")


def in_chunks(
    items: Iterator[Item], *, rows: int, share: Callable[[], float], convert: Callable[[list[Any]], Rows] | None
) -> Iterator[Chunk]:
    """Return rows in chunks of so many, or of 4 MB.

    Args:
        items: the rows.
        rows: of a chunk.
        share: tells how much of the file is read.
        convert: makes what the writer takes; absent: it takes them as they are.
    """
    chunk, size = Chunk(), 0
    for item in items:
        chunk.read += 1
        size += item.size
        if item.reject is None:
            chunk.texts.append(item.text)
            chunk.rows.append(item.row)
        else:
            chunk.rejects.append(item.reject)
        if chunk.read == rows or size >= CHUNK_BYTES:
            yield _finished(chunk, share=share(), convert=convert)
            chunk, size = Chunk(), 0
    if chunk.read:
        yield _finished(chunk, share=1.0, convert=convert)


def _finished(chunk: Chunk, *, share: float, convert: Callable[[list[Any]], Rows] | None) -> Chunk:
    chunk.share = share
    if convert is not None:
        chunk.rows = convert(chunk.rows)
    return chunk


def _schema(path: Path) -> Any:
    import pyarrow.parquet as pq

    return pq.read_schema(path)


def _parquet(source: Source, rows: int) -> Iterator[Chunk]:
    pa = require_pyarrow()
    import pyarrow.parquet as pq

    read = 0
    try:
        with pq.ParquetFile(source.path, pre_buffer=False, buffer_size=PARQUET_BUFFER) as file:
            total = max(file.metadata.num_rows, 1)
            for batch in file.iter_batches(rows):
                chunk = batch_chunk(source, batch, before=read)
                read += chunk.read
                chunk.share = read / total
                yield chunk
    except (pa.ArrowException, OSError) as failure:
        raise DataError(f"{source.table.source}: the Parquet file is damaged: {first_line(failure)}") from None


def batch_chunk(source: Source, batch: Any, *, before: int) -> Chunk:
    """Return a ``pyarrow.RecordBatch`` of a Parquet file, so many of whose rows come before, as a chunk."""
    same = source.out_form == "parquet"
    texts = values_of(batch.column(source.text_index))
    # Row by row only where it must be: to convert, not to hand a batch on.
    values = None if same else list(zip(*(values_of(column) for column in batch.columns), strict=True))
    problems = [
        bytes_problem(values[index] if values else (text,)) or text_problem(text) for index, text in enumerate(texts)
    ]
    good = [index for index, problem in enumerate(problems) if problem is None]
    rejects = [
        Reject(before + index + 1, "", problem, values=_values_by_column(batch, index))
        for index, problem in enumerate(problems)
        if problem is not None
    ]
    if values is None:
        kept: Rows = batch if not rejects else batch.take(require_pyarrow().array(good, "int64"))
    else:
        kept = rows_for(source.out_form, source.table.columns, [values[index] for index in good])
    return Chunk(len(texts), [str(texts[index]) for index in good], kept, rejects)


def _values_by_column(batch: Any, index: int) -> dict[str, object]:
    cells: Sequence[Any] = [values_of(batch.column(column).slice(index, 1))[0] for column in range(batch.num_columns)]
    shown = [cell.object if isinstance(cell, UnicodeDecodeError) else cell for cell in cells]
    return dict(zip(batch.schema.names, shown, strict=True))
