"""What both databases are asked, and what their answers mean."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from distilora.bundles.tokens import without_surrogates
from distilora.data.duplicates import fold_text
from distilora.errors import FeedbackError, FeedbackFullError
from distilora.serve.feedback.store import Counts, NewFeedback
from distilora.serve.records import FeedbackRow

FORM = 1
"""Of the table; a later form raises it."""
INSERT = """
    INSERT INTO distilora_feedback
        (created, label, predicted, probability, model, bundle, threshold, text_key, note, text)
    SELECT :created, :label, :predicted, :probability, :model, :bundle, :threshold, :text_key, :note, :text
    WHERE (SELECT count(*) FROM distilora_feedback) < :most_rows
"""
DELETE = "DELETE FROM distilora_feedback WHERE id = :id"
_COUNTS = """
    SELECT count(*), coalesce(sum(CASE WHEN label = predicted THEN 1 ELSE 0 END), 0) FROM distilora_feedback
"""
_NEWEST = "SELECT coalesce(max(id), 0) FROM distilora_feedback"
_BACKWARDS = """
    SELECT id, created, text, label, predicted, probability, model, bundle, threshold, note
    FROM distilora_feedback
    WHERE id < :before AND (CAST(:model AS TEXT) IS NULL OR model = :model)
    ORDER BY id DESC LIMIT :limit
"""
_FORWARDS = """
    SELECT id, created, text, label, predicted, probability, model, bundle, threshold, note
    FROM distilora_feedback AS row
    WHERE id > :after AND id <= :last AND (CAST(:model AS TEXT) IS NULL OR model = :model)
        AND (:latest = 0 OR NOT EXISTS (
            SELECT 1 FROM distilora_feedback AS newer
            WHERE newer.text_key = row.text_key AND newer.id > row.id AND newer.id <= :last
                AND (CAST(:model AS TEXT) IS NULL OR newer.model = :model)))
    ORDER BY id LIMIT :limit
"""
_FIELDS = ("id", "created", "text", "label", "predicted", "probability", "model", "bundle", "threshold", "note")
_LARGEST = 2**63 - 1
_PAGE_ROWS = 500

Values = Mapping[str, object]


class SqlFeedback(ABC):
    """Judgements in an SQL database; a child knows how to reach it.

    Args:
        place: name of the database for messages, without a password.
        most_rows: rows that may be kept.
    """

    def __init__(self, place: str, *, most_rows: int) -> None:
        self.place = place
        self._most_rows = most_rows

    @abstractmethod
    def _read(self, query: str, values: Values) -> Sequence[tuple[Any, ...]]:
        """Return the rows of an answer; none where there is no database yet."""

    @abstractmethod
    def _insert(self, values: Values) -> int | None:
        """Return the number of the row that ``INSERT`` stored for good, or ``None`` if it stored none."""

    @abstractmethod
    def _delete(self, values: Values) -> bool:
        """Return whether ``DELETE`` took a row away."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the database."""

    def add(self, new: NewFeedback) -> FeedbackRow:
        """Return the stored row; see :class:`~distilora.serve.feedback.store.FeedbackStore`."""
        kept = new._replace(text=_storable(new.text), note=None if new.note is None else _storable(new.note))
        created = datetime.now(UTC).isoformat(timespec="milliseconds")
        values = {**kept._asdict(), "created": created, "text_key": _text_key(kept.text), "most_rows": self._most_rows}
        number = self._insert(values)
        if number is None:
            raise FeedbackFullError(
                f"{self._most_rows:,} judgements are kept, as many as are allowed; "
                "export them and take some away, or allow more with --limit feedback_rows=NUMBER"
            )
        return FeedbackRow(id=number, created=created, right=kept.label == kept.predicted, **kept._asdict())

    def rows(self, *, before: int | None = None, limit: int = 50, model: str | None = None) -> list[FeedbackRow]:
        """Return a page of rows, the newest first."""
        bound = _LARGEST if before is None else max(min(before, _LARGEST), 0)
        found = self._read(_BACKWARDS, {"before": bound, "limit": limit, "model": model and _storable(model)})
        return [self._row(values) for values in found]

    def counts(self) -> Counts:
        """Return how many rows there are, and how many say that the model was right."""
        found = self._read(_COUNTS, {})
        return Counts(*map(int, found[0])) if found else Counts(0, 0)

    def every(self, *, model: str | None = None, latest: bool = False) -> Iterator[FeedbackRow]:
        """Yield all rows that are there now, the oldest first."""
        newest = self._read(_NEWEST, {})
        bounds = {"last": newest[0][0] if newest else 0, "limit": _PAGE_ROWS}
        values = {**bounds, "after": 0, "latest": int(latest), "model": model and _storable(model)}
        while page := self._read(_FORWARDS, values):
            yield from map(self._row, page)
            values["after"] = page[-1][0]

    def remove(self, number: int) -> bool:
        """Take a row away; return whether it was there."""
        return 0 < number <= _LARGEST and self._delete({"id": number})

    def _row(self, values: tuple[Any, ...]) -> FeedbackRow:
        fields = dict(zip(_FIELDS, values, strict=True))
        try:
            return FeedbackRow(**fields, right=fields["label"] == fields["predicted"])
        except ValidationError:
            raise FeedbackError(
                f"{self.place}: row {fields['id']} is not as distilora writes it; mend it or take it away"
            ) from None


def _storable(text: str) -> str:
    return without_surrogates(text).replace("\0", "\ufffd")


def _text_key(text: str) -> bytes:
    """Return what two texts share that ``distilora data`` takes for duplicates."""
    return hashlib.sha256(fold_text(text).encode()).digest()
