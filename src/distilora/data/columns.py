"""Which column holds the text and which the label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from distilora.data.faults import listed, nearest
from distilora.data.tables import Table
from distilora.errors import DataError

# By rank: a later group counts only where no column of an earlier group is there.
_TEXT_NAMES = (
    ("text", "comment_text", "comment", "tweet", "content", "sentence"),
    ("message", "body", "post", "review", "utterance", "document", "prompt", "title"),
)
_LABEL_NAMES = (
    ("label", "labels", "class", "toxic", "target", "toxicity"),
    ("category", "is_toxic", "hate", "hateful", "hate_speech", "offensive", "sentiment", "intent", "y"),
)


@dataclass(frozen=True)
class Columns:
    """The two columns to read, and what was guessed."""

    text: str
    label: str
    notes: tuple[str, ...]


def choose_columns(table: Table, *, text: str | None, label: str | None) -> Columns:
    """Return the columns named by the user; a column that was not named is guessed where there is one good guess.

    Args:
        table: the source.
        text: name of the text column; absent: guessed.
        label: name of the label column; absent: guessed.

    Raises:
        DataError: a named column is not there or there twice, or there is not exactly one good guess; lists the
            columns.
    """
    for flag, name in (("--text", text), ("--label", label)):
        if name is not None:
            _require(table, name, flag=flag)
    text_column = text or _guess(table, _TEXT_NAMES, what="text", flag="--text", taken=label)
    label_column = label or _guess(table, _LABEL_NAMES, what="label", flag="--label", taken=text_column)
    if text_column == label_column:
        raise DataError(f'{table.source}: column "{text_column}" cannot be both text and label{_columns(table)}')
    guessed = (("text", text, text_column), ("label", label, label_column))
    notes = tuple(f'{what} is taken from column "{column}"' for what, given, column in guessed if given is None)
    return Columns(text_column, label_column, notes)


def choose_text(table: Table, *, text: str | None, flag: str = "--text") -> str:
    """Return the text column, named by the user or guessed where there is one good guess.

    Args:
        table: the source.
        text: name of the text column; absent: guessed.
        flag: what the user names it with.

    Raises:
        DataError: as for :func:`choose_columns`.
    """
    if text is not None:
        _require(table, text, flag=flag)
    return text or _guess(table, _TEXT_NAMES, what="text", flag=flag)


def _require(table: Table, name: str, *, flag: str) -> None:
    count = table.columns.count(name)
    if count == 0:
        hint = nearest(name, table.columns)
        raise DataError(f'{table.source}: {flag} "{name}" is not a column{hint}{_columns(table)}')
    if count > 1:
        raise DataError(f'{table.source}: {count} columns are called "{name}"; give each column its own name')


def _guess(table: Table, ranks: Sequence[Sequence[str]], *, what: str, flag: str, taken: str | None = None) -> str:
    for names in ranks:
        found = [column for column in table.columns if column.casefold() in names and column != taken]
        if len(found) == 1:
            return found[0]
        if found:
            raise DataError(
                f"{table.source}: the {what} could be any of {listed(found)}; name one with {flag}{_columns(table)}"
            )
    raise DataError(f"{table.source}: no column looks like the {what}; name one with {flag}{_columns(table)}")


def _columns(table: Table) -> str:
    return f" (columns: {listed(table.columns)})"
