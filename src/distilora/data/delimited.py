"""CSV and TSV files: RFC 4180 (https://www.rfc-editor.org/rfc/rfc4180), UTF-8, first record is the header."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from distilora.data.faults import listed
from distilora.data.tables import Readable, Row, Table
from distilora.errors import DataError

# Far above the longest accepted text, so that a long text is told as such; low enough that a quotation mark that is
# never closed cannot draw a whole large file into one field.
_FIELD_LIMIT = 16_000_000
_PROBLEMS = {
    "expected after": "a quoted field goes on after its closing quotation mark; write a quotation mark within as two",
    "unexpected end": "a quoted field is never closed; write a quotation mark within it as two",
    "field larger": f"a field has more than {_FIELD_LIMIT:,} characters; is a quotation mark never closed?",
    "new-line": "a carriage return stands alone outside quotation marks; end lines with a line feed",
}


@dataclass(slots=True)
class Entry:
    """One record of the file, the header among them."""

    fields: list[str]
    problem: str | None
    """What keeps the record from being read; then the fields mean nothing."""
    line: int
    """Its first line, from 1."""
    raw: list[bytes]
    """Its lines as they stand in the file."""

    def place(self, number: int) -> str:
        """Return which lines the record of this number fills; empty where the number says it all."""
        last = self.line + len(self.raw) - 1
        place = f"lines {self.line} to {last}" if last > self.line else f"line {self.line}"
        return "" if place == f"line {number + 1}" else place

    def fault(self, *, fields: int) -> str | None:
        """Return what is wrong with the record, or ``None`` if it has as many fields as the header."""
        if self.problem is None and len(self.fields) != fields:
            return (
                f"the header has {fields} fields, this row {len(self.fields)}; put texts with commas in quotation marks"
            )
        return self.problem


class _Lines:
    """Decoded lines; a line that is not UTF-8 is noted in ``problem`` until somebody takes the note away."""

    def __init__(self, stream: Iterator[bytes], *, line: int, offset: int) -> None:
        self._stream = stream
        self._offset = offset
        self.number = line
        self.raw: list[bytes] = []
        """The lines of the record that is being read."""
        self.problem: str | None = None

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        raw = next(self._stream)
        self.number += 1
        self.raw.append(raw)
        text, problem = decode_line(raw, offset=self._offset)
        self.problem = self.problem or problem
        self._offset += len(raw)
        return text


def decode_line(raw: bytes, *, offset: int) -> tuple[str, str | None]:
    r"""Return a line as text, and what is wrong with its bytes or ``None``; a byte-order mark at offset 0 is dropped.

    Args:
        raw: the line with its line feed.
        offset: bytes of the file before the line, for the message.

    Example:
        >>> decode_line(b"caf\xe9", offset=100)[1]
        'byte 0xe9 at offset 103 is not UTF-8; save the file as UTF-8'
    """
    try:
        text, problem = raw.decode("utf-8"), None
    except UnicodeDecodeError as failure:
        text = raw.decode("utf-8", "replace")
        where = offset + failure.start
        problem = f"byte 0x{raw[failure.start]:02x} at offset {where} is not UTF-8; save the file as UTF-8"
    return (text.removeprefix("\ufeff") if offset == 0 else text), problem


def open_delimited(path: Readable, *, source: str, delimiter: str) -> Table:
    """Return a CSV or TSV file as a table.

    Args:
        path: the file.
        source: the name for messages.
        delimiter: ``","`` or a tab.

    Raises:
        DataError: the file is empty, not text, or its header cannot be used.
    """
    columns = _header(path, source=source, delimiter=delimiter)

    def rows(names: Sequence[str]) -> Iterator[Row]:
        indices = [columns.index(name) for name in names]
        with path.open("rb") as stream:
            entries = read_entries(stream, delimiter=delimiter)
            next(entries)
            for number, entry in enumerate(entries, start=1):
                yield _row(entry, indices=indices, fields=len(columns), number=number)

    return Table(source, columns, rows, part_column="split" if "split" in columns else None)


def _header(path: Readable, *, source: str, delimiter: str) -> tuple[str, ...]:
    refuse_binary(path, source=source)
    with path.open("rb") as stream:
        entry = next(read_entries(stream, delimiter=delimiter), None)
    if entry is None:
        raise DataError(f"{source}: the file is empty; give it a header line and one row for each comment")
    if entry.problem:
        raise DataError(f"{source} header: {entry.problem}")
    columns = tuple(name.strip() for name in entry.fields)
    others = [mark for mark in (";", "\t", ",") if mark != delimiter and mark in entry.fields[0]]
    if len(columns) == 1 and others:
        raise DataError(
            f"{source}: the header {listed(columns)} is one column; {_expected(delimiter)}, not {others[0]!r}"
        )
    return columns


def _expected(delimiter: str) -> str:
    return "a .tsv file is separated by tabs" if delimiter == "\t" else "a .csv file is separated by commas"


def refuse_binary(path: Readable, *, source: str) -> None:
    """Raise DataError if the file begins like UTF-16, or its first line like no text at all."""
    with path.open("rb") as stream:
        beginning = stream.readline(1024)
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{source}: the file is UTF-16; save it as UTF-8")
    if b"\0" in beginning:
        raise DataError(f"{source}: NUL at byte {beginning.index(0)}: not a text file; save it as UTF-8 text")


def read_entries(stream: Iterator[bytes], *, delimiter: str, line: int = 0, offset: int = 0) -> Iterator[Entry]:
    """Return the records of a file that :func:`open_delimited` took, the header first, blank lines left out.

    Args:
        stream: the file's lines, from the beginning of a record on.
        delimiter: between fields.
        line: lines of the file before.
        offset: bytes of the file before.
    """
    csv.field_size_limit(max(csv.field_size_limit(), _FIELD_LIMIT))
    lines = _Lines(stream, line=line, offset=offset)
    # strict: else a quotation mark that is never closed would swallow rows without a word.
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        before, lines.raw, lines.problem, malformed, fields = lines.number, [], None, None, []
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as failure:
            malformed = _reworded(str(failure))
        if fields or malformed:
            yield Entry(fields, lines.problem or malformed, before + 1, lines.raw)


def _reworded(message: str) -> str:
    return next((words for key, words in _PROBLEMS.items() if key in message), message)


def _row(entry: Entry, *, indices: Sequence[int], fields: int, number: int) -> Row:
    problem = entry.fault(fields=fields)
    values = () if problem else tuple(entry.fields[index] for index in indices)
    return Row(values, problem, entry.place(number))
