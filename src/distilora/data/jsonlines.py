"""JSON lines (https://jsonlines.org): UTF-8, one object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from distilora.data.delimited import decode_line, refuse_binary
from distilora.data.faults import shown
from distilora.data.tables import Row, Table
from distilora.errors import DataError

# Keys may be absent from single lines, so that the first line alone does not tell the columns.
_LINES_FOR_COLUMNS = 100


def open_json_lines(path: Path, *, source: str) -> Table:
    """Return a JSON lines file as a table whose columns are the keys of its first hundred objects.

    Args:
        path: the file.
        source: the name for messages.

    Raises:
        DataError: the file is empty, not text, or none of its first lines is a JSON object.
    """
    refuse_binary(path, source=source)
    beginning = list(islice(_objects(path), _LINES_FOR_COLUMNS))
    if not beginning:
        raise DataError(f"{source}: the file is empty; write one JSON object a line, one for each comment")
    columns = tuple(dict.fromkeys(key for item, _, _ in beginning if item for key in item))
    if not columns:
        problem = beginning[0][1] or "an object without keys"
        raise DataError(f'{source} row 1: {problem}; write objects such as {{"text": "…", "label": "…"}}')

    def rows(names: Sequence[str]) -> Iterator[Row]:
        for number, (item, problem, line) in enumerate(_objects(path), start=1):
            place = "" if line == number else f"line {line}"
            values = () if item is None else tuple(item.get(name) for name in names)
            yield Row(values, problem, place)

    return Table(source, columns, rows, part_column="split" if "split" in columns else None)


def _objects(path: Path) -> Iterator[tuple[dict[str, object] | None, str | None, int]]:
    """Return object, problem and line number from 1 of each line that is not blank."""
    offset = 0
    with path.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            text, problem = decode_line(raw, offset=offset)
            offset += len(raw)
            if text.strip():
                item, malformed = _parsed(text) if problem is None else (None, problem)
                yield item, malformed, number


def _parsed(text: str) -> tuple[dict[str, object] | None, str | None]:
    try:
        item = json.loads(text)
    except json.JSONDecodeError as failure:
        return None, f"is not JSON: {failure.msg} at character {failure.pos + 1}"
    except (ValueError, RecursionError) as failure:  # numbers of thousands of digits; thousands of open brackets
        return None, f"is not JSON that can be read: {shown(failure)}"
    if not isinstance(item, dict):
        return None, f"is {shown(item)}; a line must be a JSON object"
    return item, None
