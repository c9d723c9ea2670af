"""From a request about feedback to what the database did."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

from distilora.errors import FeedbackError, FeedbackFullError
from distilora.serve.answers import DIGITS, Asked, ask
from distilora.serve.checks import check_label, check_storable, check_text
from distilora.serve.feedback.store import FeedbackStore, NewFeedback
from distilora.serve.problems import Problem
from distilora.serve.records import FeedbackList, FeedbackRequest, FeedbackRow
from distilora.serve.state import Served

LARGEST_ID = 2**63 - 1
"""Of a row, in both databases."""
_RETRY_AFTER_S = 5
_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")


async def judge(served: Served, request: FeedbackRequest) -> FeedbackRow:
    """Store what the right label of a text is beside what the model says of it now, and return the row.

    Raises:
        Problem: ``invalid`` where the label is none of the model's, or a text holds what a database cannot; else as
            :func:`distilora.serve.answers.predict_table` and :func:`asked_of_database`.
    """
    store = store_of(served)
    check_text(request.text, limits=served.settings.limits)
    check_storable(request.text, where="text")
    check_storable(request.note or "", where="note")
    model = served.catalog.find(request.model)
    check_label(request.label, model=model)
    asked = await ask(served, model, [request.text], threshold=request.threshold)
    row = await asked_of_database(lambda: store.add(_judgement(request, asked)))
    served.metrics.feedback(model=model.name, right=row.right)
    return row


async def judgements(served: Served, *, limit: int, before: int | None, model: str | None) -> FeedbackList:
    """Return a page of stored judgements, the newest first, and how often the models were right in all of them.

    Raises:
        Problem: as :func:`asked_of_database`.
    """
    store = store_of(served)
    rows = await asked_of_database(lambda: store.rows(before=before, limit=limit + 1, model=model))
    counts = await asked_of_database(store.counts)
    page = rows[:limit]
    following = page[-1].id if len(rows) > limit else None
    return FeedbackList(rows=page, total=counts.total, right=counts.right, next_before=following)


async def take_away(served: Served, number: int) -> None:
    """Take one judgement out of the database for good.

    Raises:
        Problem: ``not-found``; else as :func:`asked_of_database`.
    """
    store = store_of(served)
    if not await asked_of_database(lambda: store.remove(number)):
        raise Problem("not-found", f"no judgement has the id {number}")


def store_of(served: Served) -> FeedbackStore:
    """Return where judgements are kept.

    Raises:
        Problem: ``unavailable`` where feedback is off.
    """
    if served.feedback is None:
        raise Problem("unavailable", "feedback is off on this server; start it with --feedback FILE")
    return served.feedback


async def asked_of_database(question: Callable[[], _Answer]) -> _Answer:
    """Return what the database answers, without holding up other requests.

    Raises:
        Problem: ``unavailable`` where the database fails or is full.
    """
    try:
        return await asyncio.to_thread(question)
    except FeedbackFullError as error:
        raise Problem("unavailable", str(error)) from error
    except FeedbackError as error:
        _log.error("feedback: %s", error)  # without what caused it, which may quote the text
        raise Problem(
            "unavailable", "the feedback database cannot be used now", retry_after_s=_RETRY_AFTER_S
        ) from error


def _judgement(request: FeedbackRequest, asked: Asked) -> NewFeedback:
    answer = next(iter(asked.predictions))
    return NewFeedback(
        text=request.text,
        label=request.label,
        predicted=answer.label,
        probability=round(answer.probabilities[answer.label], DIGITS),
        model=asked.model.name,
        bundle=asked.model.bundle.id,
        threshold=asked.threshold,
        note=request.note or None,
    )
