"""Where judgements are kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from distilora.errors import FeedbackError
from distilora.serve.records import FeedbackRow

_POSTGRES = ("postgresql://", "postgres://")


class NewFeedback(NamedTuple):
    """A judgement before it has a number and a time.

    NUL and halves of surrogate pairs, which databases cannot hold and ``distilora data`` does not take, are kept as
    U+FFFD in text and note.
    """

    text: str
    label: str
    predicted: str
    probability: float
    model: str
    bundle: str
    threshold: float | None
    note: str | None


class Counts(NamedTuple):
    """Of all judgements."""

    total: int
    right: int


class FeedbackStore(Protocol):
    """Judgements in a database; any thread may call it, and so may several processes on one database.

    Every method raises FeedbackError if the database cannot be used.
    """

    def add(self, new: NewFeedback) -> FeedbackRow:
        """Return the stored row; once returned it survives ``kill -9`` and a power cut.

        Raises:
            FeedbackFullError: as many rows as are allowed are there.
            FeedbackError: the database cannot be written.
        """

    def rows(self, *, before: int | None = None, limit: int = 50, model: str | None = None) -> list[FeedbackRow]:
        """Return at most ``limit`` rows with a smaller number than ``before``, the newest first."""

    def counts(self) -> Counts:
        """Return how many rows there are, and how many of them say that the model was right."""

    def every(self, *, model: str | None = None, latest: bool = False) -> Iterator[FeedbackRow]:
        """Yield all rows, the oldest first, without holding them in memory.

        Args:
            model: only rows of the model of this name.
            latest: only the newest row of each text, so that no text has two labels; texts that differ by case or
                white space alone count as one, as they do for ``distilora data``.

        Rows that are added meanwhile are not among them.
        """

    def remove(self, number: int) -> bool:
        """Take a row away; return whether it was there."""

    def close(self) -> None:
        """Let go of the database."""


def open_feedback(where: str, *, most_rows: int) -> FeedbackStore:
    """Return the store at a SQLite file or a ``postgresql://`` address.

    A file that is not there is made with the first row; nobody but its owner may read it. PostgreSQL must answer now.

    Args:
        where: path or address.
        most_rows: rows that may be kept. Rows that come at the same moment through several connections to PostgreSQL
            may pass it by as many.

    Raises:
        FeedbackError: it cannot be opened, will not be writable, or is something else.
        MissingExtraError: PostgreSQL without psycopg.
    """
    if where.startswith(_POSTGRES):
        from distilora.serve.feedback.postgres import PostgresFeedback

        return PostgresFeedback(where, most_rows=most_rows)
    if "://" in where:  # not shown: it may hold a password
        raise FeedbackError("feedback: the address is of another kind; give a SQLite file or postgresql://…")
    from distilora.serve.feedback.sqlite import SqliteFeedback

    return SqliteFeedback(where, most_rows=most_rows)
