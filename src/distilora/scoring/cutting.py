"""One file after the other in parts, by the file alone: so each engine, and each run of a job, cuts alike."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from distilora.data.delimited import decode_line, read_entries
from distilora.data.faults import first_line
from distilora.errors import DataError
from distilora.scoring.forms import DELIMITERS, require_pyarrow
from distilora.scoring.inputs import InputFile
from distilora.scoring.parts import Part, PartsJob
from distilora.scoring.places import open_place
from distilora.scoring.reading import CHUNK_BYTES

_READ_BYTES = 1 << 20
_FEWEST_PART_BYTES = 1 << 16
_MOST_PART_BYTES = 1 << 23
_PARTS = 512
"""As many are aimed at, so that the last workers do not wait long for each other, within these bounds."""


class _Row(NamedTuple):
    """Where a row of a text file ends."""

    end_byte: int
    lines: int
    """Of the file up to there."""
    size: int
    """Of its own bytes, blank lines before it not counted."""


def part_bytes_for(files: Iterable[InputFile]) -> int:
    """Return how long the parts of a job are to be, in bytes of its input.

    Small, so that little is lost with a process and workers end together; large, so that few files are written.

    Example:
        >>> file = InputFile(name="a.csv", size_bytes=1_000_000_000, changed="", beginning_sha256="")
        >>> part_bytes_for([file])
        1953125
    """
    total = sum(file.size_bytes for file in files)
    return min(max(total // _PARTS, _FEWEST_PART_BYTES), _MOST_PART_BYTES)


def cut(file: InputFile, *, at: int, job: PartsJob, done: Mapping[int, Part]) -> Iterator[Part]:
    """Yield the parts of a file that are still to do, in order; only what is not done is looked through.

    A part is a number of whole chunks, and chunks are those in which the file is read when it is scored alone.

    Args:
        file: the file.
        at: its place among the job's files, from 0.
        job: says how long chunks and parts are.
        done: its parts that are done, by number.

    Raises:
        DataError: the file cannot be read.
        MissingExtraError: Parquet without pyarrow.
    """
    parts = _parquet_parts if file.form == "parquet" else _text_parts
    yield from parts(file, at=at, job=job, done=done)


def _text_parts(file: InputFile, *, at: int, job: PartsJob, done: Mapping[int, Part]) -> Iterator[Part]:
    place = open_place(file.name)
    try:
        with place.files.open(place.path, "rb") as opened, io.BufferedReader(opened, _READ_BYTES) as stream:
            yield from _cut_stream(stream, file, at=at, job=job, done=done)
    except OSError as failure:
        raise DataError(f"{file.name}: cannot be read: {failure.strerror or first_line(failure)}") from None


def _cut_stream(
    stream: io.BufferedReader, file: InputFile, *, at: int, job: PartsJob, done: Mapping[int, Part]
) -> Iterator[Part]:
    # Rows of one part at a time: where a part is done, the next begins behind it.
    part = _beginning(stream, file, at=at)
    while True:
        if part.number in done:
            part = done[part.number]
        else:
            part = _filled(stream, file, part, job=job)
            yield part
        if part.is_last:
            return
        part = _following(part)


def _beginning(stream: io.BufferedReader, file: InputFile, *, at: int) -> Part:
    """Return the first part, still empty."""
    start = lines = 0
    if file.form in DELIMITERS:
        counted = _Counted(stream, bytes_before=0, lines_before=0)
        next(read_entries(counted, delimiter=DELIMITERS[file.form]), None)  # the header
        start, lines = counted.bytes, counted.lines
    return Part(
        file=at, number=0, rows_before=0, rows=0, start_byte=start, end_byte=start, lines_before=lines, size_bytes=0,
        is_last=False,
    )  # fmt: skip


def _following(part: Part) -> Part:
    """Return the part behind one, still empty."""
    changes = {
        "number": part.number + 1,
        "rows_before": part.rows_before + part.rows,
        "rows": 0,
        "start_byte": part.end_byte,
        "lines_before": part.lines_before + part.lines,
        "lines": 0,
        "size_bytes": 0,
    }
    return part.model_copy(update=changes)


def _filled(stream: io.BufferedReader, file: InputFile, part: Part, *, job: PartsJob) -> Part:
    """Return an empty part with as many chunks as it is to have."""
    stream.seek(part.start_byte)
    counted = _Counted(stream, bytes_before=part.start_byte, lines_before=part.lines_before)
    rows = chunk_rows = chunk_bytes = size = 0
    end, is_last = _Row(part.start_byte, part.lines_before, 0), True
    for row in _rows(counted, file, part):
        if size >= job.part_bytes and chunk_rows == 0:  # the row is the next part's
            is_last = False
            break
        end, rows, chunk_rows, chunk_bytes, size = (
            row, rows + 1, chunk_rows + 1, chunk_bytes + row.size, size + row.size,
        )  # fmt: skip
        if chunk_rows == job.chunk_rows or chunk_bytes >= CHUNK_BYTES:
            chunk_rows = chunk_bytes = 0
    changes = {
        "rows": rows,
        "end_byte": end.end_byte,
        "lines": end.lines - part.lines_before,
        "size_bytes": end.end_byte - part.start_byte,
        "is_last": is_last,
    }
    return part.model_copy(update=changes)


def _rows(counted: _Counted, file: InputFile, part: Part) -> Iterator[_Row]:
    if file.form in DELIMITERS:
        entries = read_entries(counted, delimiter=DELIMITERS[file.form], line=part.lines_before, offset=part.start_byte)
        for entry in entries:
            yield _Row(counted.bytes, counted.lines, sum(map(len, entry.raw)))
        return
    for raw in counted:
        if decode_line(raw, offset=counted.bytes - len(raw))[0].strip():
            yield _Row(counted.bytes, counted.lines, len(raw))


class _Counted:
    """Lines of a file, and how far it has been read."""

    def __init__(self, stream: Iterator[bytes], *, bytes_before: int, lines_before: int) -> None:
        self._stream = stream
        self.bytes = bytes_before
        self.lines = lines_before

    def __iter__(self) -> _Counted:
        return self

    def __next__(self) -> bytes:
        raw = next(self._stream)
        self.bytes += len(raw)
        self.lines += 1
        return raw


def _parquet_parts(file: InputFile, *, at: int, job: PartsJob, done: Mapping[int, Part]) -> Iterator[Part]:
    groups = _row_groups(file)
    total = max(sum(rows for rows, _ in groups), 1)
    number = before = 0
    for index, (rows, size) in enumerate(groups):
        each = _rows_a_part(rows, size, job=job)
        for start in range(0, rows, each):
            some = min(each, rows - start)
            is_last = index == len(groups) - 1 and start + some == rows
            part = Part(
                file=at, number=number, rows_before=before, rows=some,
                size_bytes=file.size_bytes * some // total, is_last=is_last,
            )  # fmt: skip
            number, before = number + 1, before + some
            if part.number not in done:
                yield part
    if number == 0 and not done:  # a file without rows has one part without rows
        yield Part(file=at, number=0, rows_before=0, rows=0, size_bytes=file.size_bytes, is_last=True)


def _rows_a_part(rows: int, size: int, *, job: PartsJob) -> int:
    """Return the rows of a row group that make a part: whole chunks, so that each reads little in vain."""
    wanted = job.part_bytes * rows // max(size, 1)
    return max(-(-wanted // job.chunk_rows), 1) * job.chunk_rows


def _row_groups(file: InputFile) -> list[tuple[int, int]]:
    """Return rows and bytes, unpacked, of each row group that has any."""
    pa = require_pyarrow()
    import pyarrow.parquet as pq

    place = open_place(file.name)
    try:
        with place.files.open(place.path, "rb") as stream:
            metadata: Any = pq.read_metadata(stream)
    except (pa.ArrowException, OSError) as failure:
        raise DataError(f"{file.name}: not a readable Parquet file: {first_line(failure)}") from None
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    return [(group.num_rows, group.total_byte_size) for group in groups if group.num_rows]
