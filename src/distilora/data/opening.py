"""A file of comments as a table, by the end of its name."""

from __future__ import annotations

from pathlib import Path

from distilora.data.delimited import open_delimited
from distilora.data.jsonlines import open_json_lines
from distilora.data.parquet import open_parquet
from distilora.data.tables import Table
from distilora.errors import DataError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
"""Files that can be read."""


def open_file(source: str) -> Table:
    """Return a file as a table.

    Args:
        source: path of a file that ends in one of ``SUFFIXES``.

    Raises:
        DataError: there is no such file, it ends otherwise, or it cannot be read.
        MissingExtraError: Parquet without pyarrow.
    """
    path, suffix = Path(source), Path(source).suffix.lower()
    if path.is_dir():
        raise DataError(f"{source}: is a folder; give one file of it")
    if suffix not in SUFFIXES:
        raise DataError(f"{source}: is not a file that can be read; give a file that ends in {', '.join(SUFFIXES)}")
    if not path.exists():
        raise DataError(f"{source}: no such file; give the path of a file that ends in {', '.join(SUFFIXES)}")
    try:
        if suffix == ".parquet":
            return open_parquet(path, source=source)
        if suffix in {".jsonl", ".ndjson"}:
            return open_json_lines(path, source=source)
        return open_delimited(path, source=source, delimiter="\t" if suffix == ".tsv" else ",")
    except OSError as failure:
        raise DataError(f"{source}: cannot be opened: {failure.strerror or failure}") from None
