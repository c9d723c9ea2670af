"""Judgements as files that ``distilora data`` and ``distilora compare --data`` read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from distilora.data.cells import record_lines
from distilora.serve.records import FeedbackRow

COLUMNS: Final = (
    "text",
    "label",
    "predicted",
    "probability",
    "right",
    "model",
    "bundle",
    "threshold",
    "note",
    "created",
    "id",
)


def csv_lines(rows: Iterable[FeedbackRow]) -> Iterator[str]:
    r"""Return a CSV with a header: one string for each row, its line end included.

    Every cell that a spreadsheet could take for a formula has an apostrophe in front, text and label too; JSON lines
    hold them as they are.

    Example:
        >>> next(csv_lines([]))
        'text,label,predicted,probability,right,model,bundle,threshold,note,created,id\r\n'
    """
    return record_lines(rows, COLUMNS)


def json_lines(rows: Iterable[FeedbackRow]) -> Iterator[str]:
    """Yield each row as one line of JSON (https://jsonlines.org) with the exact text, its line feed included."""
    return (f"{row.model_dump_json()}\n" for row in rows)


def in_chunks(lines: Iterable[str], *, size: int = 2**16) -> Iterator[bytes]:
    """Yield the lines as UTF-8 in chunks of at least ``size`` characters, but for the last.

    Example:
        >>> list(in_chunks(["ab", "cd", "e"], size=3))
        [b'abcd', b'e']
    """
    waiting: list[str] = []
    characters = 0
    for line in lines:
        waiting.append(line)
        characters += len(line)
        if characters >= size:
            yield "".join(waiting).encode()
            waiting, characters = [], 0
    if waiting:
        yield "".join(waiting).encode()
