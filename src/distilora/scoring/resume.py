"""How far a scoring has come, kept in a file, so that the same command can go on after it was stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from distilora.records import Record

_PRINTED_BYTES = 1 << 20
# Of the job of one file and of that of many; what differs in several things is told by the first.
_WORDS = {
    "versions": "another version of distilora or of a library that it needs",
    "bundle_id": "another bundle",
    "threshold": "another threshold",
    "long_texts": "another rule for long texts",
    "prefix": "other names for the new columns",
    "text_column": "another text column",
    "columns": "other columns",
    "schema_base64": "columns of other types",
    "chunk_rows": "chunks of another length",
    "part_bytes": "parts of another size",
    "threads": "another number of threads",
    "source": "another input file, or it has changed",
}


class SourcePrint(Record):
    """What tells one input file from another, or from itself once it has changed."""

    size_bytes: int
    changed_ns: int
    """When it was last written, in nanoseconds of the system's clock."""
    beginning_sha256: str
    """Of its first MiB."""


class Job(Record):
    """All that decides what is written: two equal jobs write the same file."""

    format: Literal[1] = 1
    versions: dict[str, str]
    bundle_id: str
    threshold: float | None
    long_texts: str
    prefix: str
    text_column: str
    chunk_rows: int
    threads: int
    """Batches are made for so many, and what an int8 model says of a text depends on those beside it."""
    source: SourcePrint


class Done(Record):
    """What has been written, up to the end of a chunk."""

    rows: int = Field(0, ge=0)
    """Of the input file, read."""
    scored: int = Field(0, ge=0)
    cut: int = Field(0, ge=0)
    """Of the scored: longer than the model's longest input."""
    labels: dict[str, int] = Field({})
    """Scored rows by class."""
    out_bytes: int = Field(0, ge=0)
    rejects_bytes: int = Field(0, ge=0)


class Progress(Record):
    """The progress file."""

    job: Job
    done: Done


def print_of(path: Path) -> SourcePrint:
    """Return what tells the file at ``path`` from others."""
    status = path.stat()
    with path.open("rb") as stream:
        beginning = hash_of_beginning(stream.read)
    return SourcePrint(size_bytes=status.st_size, changed_ns=status.st_mtime_ns, beginning_sha256=beginning)


def hash_of_beginning(read: Callable[[int], bytes]) -> str:
    """Return the SHA-256 of a file's first MiB; ``read`` returns so many of its first bytes, or all where it has fewer.

    Example:
        >>> hash_of_beginning(lambda size: b"text"[:size])[:8]
        '982d9e3e'
    """
    return hashlib.sha256(read(_PRINTED_BYTES)).hexdigest()


def versions_that_count() -> dict[str, str]:
    """Return the releases of the libraries on which the written digits depend."""
    return {name: version(name) for name in ("distilora", "onnxruntime", "tokenizers")}


def read_progress(path: Path) -> Progress | None:
    """Return what a progress file says, or ``None`` where there is none that can be read."""
    try:
        return Progress.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def difference(before: Record, now: Record) -> str | None:
    """Return in words what differs first between two jobs of one kind, or ``None`` if they write the same."""
    own = {key: words for key, words in _WORDS.items() if hasattr(now, key)}
    return next((words for key, words in own.items() if getattr(before, key) != getattr(now, key)), None)
