"""A large job in parts: each is read, scored and written whole or not at all."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

from pydantic import Field

from distilora.bundles.tokens import LongTexts
from distilora.records import Record
from distilora.scoring.inputs import InputFile

_VARYING = re.compile(r'"[^"]*"|0x[0-9a-f]{2}|\d[\d,]*')
_MOST_REASONS = 50


class PartsJob(Record):
    """All that decides what is written, but the files: two equal jobs write the same parts of the same file."""

    format: Literal[1] = 1
    versions: dict[str, str]
    bundle_id: str
    threshold: float | None
    long_texts: LongTexts
    prefix: str
    text_column: str
    columns: tuple[str, ...]
    """Of the first file that could be read; each part has these."""
    schema_base64: str | None
    """Their Arrow types, serialised, where all files are Parquet; absent: all are strings."""
    chunk_rows: int = Field(ge=1)
    """Rows that share batches, and on which what an int8 model says of a text depends."""
    part_bytes: int = Field(ge=1)
    """A part ends with the chunk that reaches so many bytes of the input."""

    @property
    def id(self) -> str:
        """SHA-256 that stands for all of it."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class JobFile(Record):
    """What ``_job.json`` holds."""

    job: PartsJob
    files: tuple[InputFile, ...]


class Part(Record):
    """Rows of one file that follow each other."""

    file: int = Field(ge=0)
    """Which of the job's files, from 0."""
    number: int = Field(ge=0)
    """Which part of it, from 0."""
    rows_before: int = Field(ge=0)
    rows: int = Field(ge=0)
    start_byte: int = Field(0, ge=0)
    """Of a text file: where the part begins and, not included, ends. Of Parquet both are 0."""
    end_byte: int = Field(0, ge=0)
    lines_before: int = Field(0, ge=0)
    lines: int = Field(0, ge=0)
    size_bytes: int = Field(ge=0)
    """Of the file that it stands for, to show how far a job is."""
    is_last: bool
    """Whether it ends its file."""

    @property
    def name(self) -> str:
        """Of its file in the folder.

        Example:
            >>> Part(file=3, number=12, rows_before=0, rows=1, size_bytes=9, is_last=True).name
            'part-00003-00012.parquet'
        """
        return f"part-{self.file:05}-{self.number:05}.parquet"

    @property
    def rejects_name(self) -> str:
        """Of the file of its rows that cannot be read, in their folder."""
        return f"rejects-{self.file:05}-{self.number:05}.jsonl"


class PartDone(Record):
    """What came of a part; it stands in the end of the part's file."""

    job_id: str
    part: Part
    scored: int = Field(ge=0)
    cut: int = Field(ge=0)
    """Of the scored: longer than the model's longest input."""
    labels: dict[str, int]
    """Scored rows by class."""
    rejects: dict[str, int]
    """Rows that cannot be read, by reason."""


class PartFailed(Record):
    """A part, or the rest of a file, that cannot be read."""

    problem: str
    """One line; names the file."""


def part_name_of(name: str) -> bool:
    """Return whether a file is called like one of a job's parts.

    Example:
        >>> part_name_of("part-00003-00012.parquet"), part_name_of("part-0.parquet")
        (True, False)
    """
    return re.fullmatch(r"part-\d{5,}-\d{5,}\.parquet", name) is not None


def rejects_name_of(name: str) -> bool:
    """Return whether a file is called like the rejects of one of a job's parts.

    Example:
        >>> rejects_name_of("rejects-00003-00012.jsonl"), rejects_name_of("rejects.jsonl")
        (True, False)
    """
    return re.fullmatch(r"rejects-\d{5,}-\d{5,}\.jsonl", name) is not None


def reason_of(problem: str) -> str:
    """Return what is wrong with a row, without what is the row's own, so that rows can be counted by it.

    Example:
        >>> reason_of('text is "5"; a text must be a string'), reason_of("the header has 3 fields, this row 4; put …")
        ('text is …', 'the header has … fields, this row …')
    """
    return _VARYING.sub("…", problem.partition(";")[0])


def count_reason(counts: dict[str, int], reason: str, *, rows: int = 1) -> None:
    """Add rows to those of a reason; past fifty reasons to ``other``."""
    key = reason if reason in counts or len(counts) < _MOST_REASONS else "other"
    counts[key] = counts.get(key, 0) + rows
