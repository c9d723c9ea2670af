"""JSON lines (https://jsonlines.org): UTF-8, one object a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from distilora.data.delimited import decode_line, refuse_binary
from distilora.data.faults import shown
from distilora.data.tables import Readable, Row, Table
from distilora.errors import DataError

# Keys may be absent from single lines, so that the first line alone does not tell the columns.
_LINES_FOR_COLUMNS = 100


class Line(NamedTuple):
    """One line that is not blank."""

    item: dict[str, object] | None
    """Its object; absent where there is a problem."""
    problem: str | None
    number: int
    """Of the line, from 1."""
    text: str
    raw: bytes
    """As it stands in the file."""

    def place(self, number: int) -> str:
        """Return where the object of this number stands; empty where the number says it all."""
        return "" if self.number == number else f"line {self.number}"


def open_json_lines(path: Readable, *, source: str) -> Table:
    """Return a JSON lines file as a table whose columns are the keys of its first hundred objects.

    Args:
        path: the file.
        source: the name for messages.

    Raises:
        DataError: the file is empty, not text, or none of its first lines is a JSON object.
    """
    refuse_binary(path, source=source)
    with path.open("rb") as stream:
        beginning = list(islice(read_lines(stream), _LINES_FOR_COLUMNS))
    if not beginning:
        raise DataError(f"{source}: the file is empty; write one JSON object a line, one for each comment")
    columns = tuple(dict.fromkeys(key for line in beginning for key in line.item or ()))
    if not columns:
        problem = beginning[0].problem or "an object without keys"
        raise DataError(f'{source} row 1: {problem}; write objects such as {{"text": "…", "label": "…"}}')

    def rows(names: Sequence[str]) -> Iterator[Row]:
        with path.open("rb") as stream:
            for number, line in enumerate(read_lines(stream), start=1):
                values = () if line.item is None else tuple(line.item.get(name) for name in names)
                yield Row(values, line.problem, line.place(number))

    return Table(source, columns, rows, part_column="split" if "split" in columns else None)


def read_lines(stream: Iterable[bytes], *, before: int = 0, offset: int = 0) -> Iterator[Line]:
    """Return the lines that are not blank, each with its object or what is wrong with it.

    Args:
        stream: the file's lines, from any on.
        before: lines of the file before.
        offset: bytes of the file before.
    """
    for number, raw in enumerate(stream, start=before + 1):
        text, problem = decode_line(raw, offset=offset)
        offset += len(raw)
        if text.strip():
            item, malformed = _parsed(text) if problem is None else (None, problem)
            yield Line(item, malformed, number, text, raw)


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
