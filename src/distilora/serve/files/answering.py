"""Every row of a file answered, in order, as the lines or cells of the answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing

from distilora.bundles.predictions import Predictions
from distilora.serve.files.spooling import OpenedFile, Part
from distilora.serve.files.writing import Start, Writer
from distilora.serve.problems import Problem

logger = logging.getLogger(__name__)

Predict = Callable[[list[str]], Awaitable[Predictions]]
Answered = tuple[Part, Predictions | None]


class BrokenOffError(Exception):
    """The answer ends here, and its form has no way to say so but a connection that is cut."""


async def answer_file(
    file: OpenedFile, *, start: Start, predict: Predict, writer: Writer
) -> AsyncGenerator[bytes, None]:
    """Yield the answer to a file piece by piece; closing it ends the work.

    Args:
        file: the opened file.
        start: what is said before the first row.
        predict: asks the model.
        writer: the form of the answer.

    Raises:
        BrokenOffError: the work failed, and the form cannot say so.
    """
    began = time.perf_counter()
    yield writer.start(start)
    answered = 0
    try:
        async with aclosing(answered_parts(file.parts, predict=predict)) as parts:
            async for part, predictions in parts:
                answered += len(part.texts)
                yield await asyncio.to_thread(writer.part, part, predictions)
    except Exception as failure:  # whatever it is, the client must hear that this is not all
        yield writer.problem(_as_problem(failure))
        if not writer.says_end:
            raise BrokenOffError from None
        return
    yield writer.end(rows=file.rows, answered=answered, seconds=time.perf_counter() - began)


async def answered_parts(parts: Iterator[Part], *, predict: Predict) -> AsyncGenerator[Answered, None]:
    """Yield each part with what the model says of its texts, in order.

    One part is with the model while the next is read and the last is sent: never two, which might share a pass or not,
    so that an int8 model, whose answers vary with the company, would answer the same file differently each time.
    """
    asked: asyncio.Task[Answered] | None = None
    try:
        part = await _read(parts)
        asked = _asked(part, predict)
        while asked is not None:
            part = await _read(parts)
            answered = await asked
            asked = _asked(part, predict)
            yield answered
    finally:
        if asked is not None:
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)


async def _read(parts: Iterator[Part]) -> Part | None:
    return await asyncio.to_thread(next, parts, None)


def _asked(part: Part | None, predict: Predict) -> asyncio.Task[Answered] | None:
    return None if part is None else asyncio.create_task(_answered(part, predict))


async def _answered(part: Part, predict: Predict) -> Answered:
    return part, await predict(part.texts) if part.texts else None


def _as_problem(failure: Exception) -> Problem:
    if isinstance(failure, Problem):
        return failure
    # Its kind alone: the message of another library may hold a comment.
    logger.error("a file of comments is given up: %s", type(failure).__name__)
    return Problem("failed", "the rest of the file could not be answered")
