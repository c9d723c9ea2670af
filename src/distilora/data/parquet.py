"""Parquet files (https://parquet.apache.org), read batch by batch with pyarrow."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from distilora.data.faults import first_line
from distilora.data.tables import Row, Table
from distilora.errors import DataError, MissingExtraError

_ROWS_AT_A_TIME = 8192


def open_parquet(path: Path, *, source: str) -> Table:
    """Return a Parquet file as a table; class names that ``datasets`` wrote into it are kept.

    Args:
        path: the file.
        source: the name for messages.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: the file is not Parquet.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError("pyarrow", "parquet") from None
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
    except (pa.ArrowException, OSError) as failure:
        raise DataError(f"{source}: not a readable Parquet file: {first_line(failure)}") from None

    def rows(names: Sequence[str]) -> Iterator[Row]:
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_ROWS_AT_A_TIME, columns=list(dict.fromkeys(names))):
                    yield from _rows(batch, names)
        except (pa.ArrowException, OSError) as failure:
            raise DataError(f"{source}: the Parquet file is damaged: {first_line(failure)}") from None

    return Table(
        source,
        tuple(schema.names),
        rows,
        class_names=_class_names(schema.metadata or {}),
        part_column="split" if "split" in schema.names else None,
    )


def _rows(batch: Any, names: Sequence[str]) -> Iterator[Row]:
    columns = [values_of(batch.column(name)) for name in names]
    for values in zip(*columns, strict=True):
        problem = bytes_problem(values)
        yield Row(values) if problem is None else Row((), problem)


def bytes_problem(values: Sequence[object]) -> str | None:
    """Return which byte of a row is not UTF-8, or ``None``; the values are those of :func:`values_of`."""
    broken = next((value for value in values if isinstance(value, UnicodeDecodeError)), None)
    if broken is None:
        return None
    byte = broken.object[broken.start]
    return f"byte 0x{byte:02x} of a string is not UTF-8; write the file again with UTF-8 strings"


def values_of(column: Any) -> list[object]:
    """Return a column's values, rows long; a string that is not UTF-8 becomes the error it raises."""
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        import pyarrow as pa

        return [_decoded(value) for value in column.cast(pa.large_binary()).to_pylist()]


def _decoded(value: bytes | None) -> object:
    try:
        return None if value is None else value.decode("utf-8")
    except UnicodeDecodeError as failure:
        return failure


def _class_names(metadata: Mapping[bytes, bytes]) -> dict[str, tuple[str, ...]]:
    """Return the names that the ``datasets`` library stores beside a column of its type ClassLabel."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {
            column: tuple(str(name) for name in feature["names"])
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}
