"""A file of comments that was sent: kept on disk only until it is opened, its columns known, its rows counted."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import BinaryIO

from distilora.data.columns import choose_text
from distilora.data.delimited import refuse_binary
from distilora.data.faults import encodable
from distilora.data.opening import open_file
from distilora.data.tables import Table
from distilora.errors import DataError
from distilora.scoring.forms import Form
from distilora.scoring.reading import Chunk, CommentFile, Reject, open_comment_file
from distilora.serve.checks import Fault, refusal
from distilora.serve.files.fields import SentFile
from distilora.serve.problems import Problem
from distilora.serve.settings import Limits

logger = logging.getLogger(__name__)

PART_ROWS = 64
"""Rows that are answered together: few, so that single comments of others need not wait long behind them."""
_COUNT_ROWS = 2_000
_COPY_BYTES = 2**20
_COLUMNS_NAMED = 100
_DETAIL_CHARACTERS = 300
_FORMS: dict[str, Form] = {"": "csv", ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


@dataclass(frozen=True)
class Part:
    """Some rows that follow each other in the file."""

    done: int
    """Rows of the file up to the last of these."""
    numbers: list[int]
    """Of the rows that have a text, from 1, the header and blank lines not counted."""
    texts: list[str]
    """Of the same rows."""
    rejects: list[Reject]
    """The other rows."""


@dataclass(frozen=True, eq=False)
class OpenedFile:
    """A file that was sent, ready to be read; nothing of it has a name on disk."""

    rows: int
    columns: tuple[str, ...]
    text_column: str
    parts: Iterator[Part]


def open_sent(sent: SentFile, *, text: str | None, lines: bool, limits: Limits) -> OpenedFile:
    """Return a file ready to be read; blocks while it is copied and counted.

    Args:
        sent: the file.
        text: name of the text column; absent: guessed.
        lines: whether each line is one comment, without columns; so it is in a file that ends in .txt.
        limits: bytes and rows of a file, characters of a text.

    Raises:
        Problem: ``wrong-media-type`` for a form that is not taken, ``body-too-large``, ``invalid`` where its columns or
            rows cannot be used, ``unavailable`` where the disk is full.
    """
    suffix = PurePosixPath(sent.name).suffix.lower()
    lines = lines or suffix == ".txt"
    form = "csv" if lines else _form(suffix)
    try:
        with TemporaryDirectory(prefix="distilora-") as folder:
            path = Path(folder) / f"comments.{form}"
            _spool(sent.content, path, most_bytes=limits.file_bytes)
            if lines:
                path = _as_column(path)
            return _opened(path, form=form, text=text, limits=limits)
    except OSError as failure:
        logger.warning("a file of comments cannot be kept: %s", failure.strerror)
        raise Problem(
            "unavailable", "the server cannot keep the file while it reads it; its disk may be full"
        ) from None


def _form(suffix: str) -> Form:
    form = _FORMS.get(suffix)
    if form is None:
        raise Problem(
            "wrong-media-type",
            "the end of the file's name stands for no form that is taken; send .csv, .tsv, .jsonl, .ndjson or .txt "
            "(distilora score takes .parquet)",
        )
    return form


def _spool(content: BinaryIO | str, path: Path, *, most_bytes: int) -> None:
    with path.open("xb") as copy:
        if isinstance(content, str):
            copy.write(content.encode("utf-8", "surrogatepass"))
        else:
            content.seek(0)
            shutil.copyfileobj(content, copy, _COPY_BYTES)
        size = copy.tell()
    if size > most_bytes:
        raise Problem("body-too-large", f"the file has {size:,} bytes; allowed are {most_bytes:,}")


def _as_column(path: Path) -> Path:
    """Return a CSV with a column ``text`` that has one row for each line that is not blank."""
    _refuse_binary(path)
    column = path.with_stem("lines")
    with path.open("rb") as lines, column.open("xb") as rows:
        rows.write(b"text\r\n")
        for line in chain([next(lines, b"").removeprefix(b"\xef\xbb\xbf")], lines):
            if text := line.strip():
                rows.write(b'"%b"\r\n' % text.replace(b'"', b'""'))
    return column


def _refuse_binary(path: Path) -> None:
    try:
        refuse_binary(path, source=str(path))
    except DataError as failure:
        raise _unusable(failure, path) from None


def _opened(path: Path, *, form: Form, text: str | None, limits: Limits) -> OpenedFile:
    try:
        table = open_file(str(path))
        column = _text_column(table, text=text)
        # Its own form, so that rows stay as they are; columns may be called as they like, for none are added.
        comments = open_comment_file(path, text=column, added=(), out_form=form)
    except DataError as failure:
        raise _unusable(failure, path) from None
    rows = _counted(comments, most=limits.file_rows)
    parts = _parts(comments.chunks(PART_ROWS), most_characters=limits.characters)
    return OpenedFile(rows, comments.columns, column, _begun(parts))


def _text_column(table: Table, *, text: str | None) -> str:
    try:
        return choose_text(table, text=text)
    except DataError:
        problem = "it is not clear which column holds the comments; name it in this field"
        if text is not None:
            times = table.columns.count(text)
            problem = "more than one column is called that" if times else "no column is called that"
        # The names stand in the errors, not in the line: a file without a header has a comment in their place.
        raise Problem(
            "invalid",
            f"text: {problem}; errors lists the file's columns",
            errors=({"where": "text", "problem": problem}, *_named(table.columns)),
        ) from None


def _named(columns: tuple[str, ...]) -> list[dict[str, str]]:
    names = [encodable(name) for name in dict.fromkeys(columns) if name][:_COLUMNS_NAMED]
    return [{"where": "text", "problem": "is a column of the file", "column": name} for name in names]


def _unusable(failure: DataError, path: Path) -> Problem:
    """Return what is wrong with a file, without its place on disk and without what stands in it."""
    about = str(failure).removeprefix(f"{path}: ").replace(str(path), "the file")
    about = re.sub(r"the header .* is one column", "the header is one column", about, flags=re.DOTALL)
    about = re.sub(r"row 1: .*; write objects", "row 1: is no JSON object; write objects", about, flags=re.DOTALL)
    problem = encodable(about)[:_DETAIL_CHARACTERS]
    return refusal([Fault("file", problem)])


def _counted(comments: CommentFile, *, most: int) -> int:
    rows = 0
    for chunk in comments.chunks(_COUNT_ROWS):
        rows += chunk.read
        if rows > most:
            problem = f"has more than {most:,} rows; send it in parts, or use distilora score"
            raise refusal([Fault("file", problem)])
    return rows


def _begun(parts: Iterator[Part]) -> Iterator[Part]:
    """Return the same, once the file is open: from then on it needs no name."""
    first = next(parts, None)
    return iter(()) if first is None else chain([first], parts)


def _parts(chunks: Iterator[Chunk], *, most_characters: int) -> Iterator[Part]:
    read = 0
    for chunk in chunks:
        rejected = {reject.row for reject in chunk.rejects}
        numbers = (row for row in range(read + 1, read + chunk.read + 1) if row not in rejected)
        part = Part(read + chunk.read, [], [], list(chunk.rejects))
        for row, text in zip(numbers, chunk.texts, strict=True):
            if len(text) > most_characters:
                problem = f"text has {len(text):,} characters; allowed are {most_characters:,}"
                part.rejects.append(Reject(row, "", problem))
            else:
                part.numbers.append(row)
                part.texts.append(text)
        read = part.done
        yield part
