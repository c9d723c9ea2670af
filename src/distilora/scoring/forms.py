"""The forms of file that can be scored and written, and one form's rows as another's."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from distilora.data.faults import encodable
from distilora.data.opening import SUFFIXES
from distilora.errors import DataError, MissingExtraError

Form = Literal["csv", "tsv", "jsonl", "parquet"]

FORMS: Mapping[str, Form] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
DELIMITERS: Mapping[Form, str] = {"csv": ",", "tsv": "\t"}

Rows = Any
"""Rows as the writer of a form takes them.

CSV and TSV: a list of lists of strings; JSON lines: a list of objects as JSON; Parquet: a ``pyarrow.RecordBatch``.
"""


def form_of(path: Path) -> Form:
    """Return the form that the end of a file's name stands for.

    Raises:
        DataError: it stands for none.

    Example:
        >>> form_of(Path("comments.TSV"))
        'tsv'
    """
    form = FORMS.get(path.suffix.lower())
    if form is None:
        raise DataError(f"{path}: is not a form that can be written; give a file that ends in {', '.join(SUFFIXES)}")
    return form


def is_resumable(form: Form) -> bool:
    """Return whether a file of this form can be cut off behind any chunk, and gone on with there."""
    return form != "parquet"


def rows_for(form: Form, columns: Sequence[str], values: Sequence[Sequence[object]]) -> Rows:
    """Return rows of any values as the writer of ``form`` takes them.

    CSV, TSV and Parquet get strings; a value that is none is written as JSON, and one that is missing stays so (in CSV
    and TSV: empty).

    Example:
        >>> rows_for("csv", ["text", "likes"], [["hello", 3], ["bye", None]])
        [['hello', '3'], ['bye', '']]
        >>> rows_for("jsonl", ["text", "likes"], [["hello", 3]])
        ['{"text": "hello", "likes": 3}']
    """
    if form in DELIMITERS:
        return [[_cell(value) or "" for value in row] for row in values]
    if form == "jsonl":
        return [as_json(dict(zip(columns, row, strict=True))) for row in values]
    return _string_batch(columns, values)


def as_json(value: object) -> str:
    """Return a value as JSON that any reader takes: what JSON lacks becomes a string, a number that is none null.

    Example:
        >>> as_json({"score": float("nan"), "id": b"7"})
        '{"score": null, "id": "7"}'
    """
    try:
        # Half a surrogate pair cannot be written as UTF-8, as an escape it can.
        return _dumped(value, allow_nan=False)
    except ValueError:
        return _dumped(_finite(value), allow_nan=True)


def require_pyarrow() -> Any:
    """Return pyarrow.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError:
        raise MissingExtraError("pyarrow", "parquet") from None
    return pa


def _dumped(value: object, *, allow_nan: bool) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=allow_nan, default=_foreign)
    return text if text.isascii() or _is_utf8(text) else json.dumps(value, allow_nan=allow_nan, default=_foreign)


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _foreign(value: object) -> object:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _cell(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value and encodable(value)
    if isinstance(value, bool | int | float | list | dict):
        return as_json(value)
    return str(_foreign(value))


def _string_batch(columns: Sequence[str], values: Sequence[Sequence[object]]) -> Rows:
    pa = require_pyarrow()
    cells = [[_cell(row[index]) for row in values] for index in range(len(columns))]
    return pa.RecordBatch.from_arrays([pa.array(column, pa.string()) for column in cells], names=list(columns))
