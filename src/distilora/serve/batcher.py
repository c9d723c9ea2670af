"""Requests that arrive together share a forward pass, off the event loop."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from distilora.bundles.bundle import joined
from distilora.bundles.classifiers import positions
from distilora.bundles.predictions import Predictions, decide
from distilora.bundles.tokens import LongTexts
from distilora.serve.catalog import ServedModel
from distilora.serve.checks import check_threshold
from distilora.serve.metrics import Metrics
from distilora.serve.problems import Problem
from distilora.serve.waiting import Job, Part, Pass, Waiting

_LONGEST_RETRY_S = 60
_RATE_WEIGHT = 0.1
"""Of the newest pass in the running mean of seconds for a text."""
logger = logging.getLogger(__name__)

_Outcome = tuple[Job, Predictions | Problem]


class Batcher:
    """A bounded queue of texts before a few threads that run models.

    A thread that is free takes what has come for the model that waited longest, and never waits for more: one text
    alone starts at once, and what arrives meanwhile is the next batch.

    Requests share a pass whatever their thresholds, and a long one is split over passes, so that short ones need not
    wait for its end. Requests whose bytes were there together are taken together.

    Args:
        threads: that run models.
        queue_texts: texts of requests that may wait; one request may have more if no other waits.
        deadline_s: seconds from a request's arrival until it is given up.
        metrics: told of passes and of what waits.
    """

    def __init__(self, *, threads: int, queue_texts: int, deadline_s: float, metrics: Metrics) -> None:
        # Each thread makes the tokens of its own pass; the library's threads would only take its processor away.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self._queue_texts = queue_texts
        self._deadline_s = deadline_s
        self._metrics = metrics
        self._numbers = count()
        self._ready = threading.Condition()
        # What follows changes only while _ready is held.
        self._waiting = Waiting()
        self._idle = 0
        self._closed = False
        self._seconds_a_text = 0.0
        self._threads = [
            threading.Thread(target=self._work, name=f"distilora-model-{number}", daemon=True)
            for number in range(1, threads + 1)
        ]
        for thread in self._threads:
            thread.start()

    async def predict(
        self,
        model: ServedModel,
        texts: Sequence[str],
        *,
        threshold: float | None = None,
        long_texts: LongTexts = "truncate",
        patient: bool = False,
    ) -> Predictions:
        """Return what the model says of the texts.

        A caller that is cancelled takes its texts out of the queue.

        Args:
            model: of the catalog.
            texts: any strings.
            threshold: on the positive classes' probability; absent: the bundle's own.
            long_texts: what counts of a text that is too long.
            patient: wait behind every request and have no deadline, as a file does; else a full queue refuses.
                However many requests come, patient texts get one pass in nine.

        Raises:
            Problem: ``too-busy`` where the queue is full, ``too-late`` past the deadline, ``unavailable`` when it is
                closed, ``failed`` where the model cannot be run, ``invalid`` for a threshold that means nothing.
        """
        check_threshold(threshold, model=model)
        loop = asyncio.get_running_loop()
        job = Job(model, texts, threshold, long_texts, patient, next(self._numbers), loop.create_future())
        self._accept(job)
        loop.call_soon(self._wake)  # once all requests whose bytes are there have been read
        deadline = None if patient else loop.call_later(self._deadline_s, self._give_up, job)
        try:
            return await job.answer
        finally:
            if deadline is not None:
                deadline.cancel()
            if not job.over:  # cancelled
                self._give_up(job)

    async def close(self) -> None:
        """Answer what was taken, then end the threads; a request that comes meanwhile is refused."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _accept(self, job: Job) -> None:
        with self._ready:
            if self._closed:
                raise Problem("unavailable", "the server is about to stop", retry_after_s=1)
            waiting = self._waiting.texts
            if not job.patient and waiting and waiting + len(job.texts) > self._queue_texts:
                raise self._too_busy(len(job.texts))
            self._waiting.add(job)
            self._tell_waiting()

    def _too_busy(self, texts: int) -> Problem:
        wait_s = math.ceil(self._waiting.texts * self._seconds_a_text / len(self._threads))
        return Problem(
            "too-busy",
            f"{self._waiting.texts:,} texts wait already and {texts:,} more came; {self._queue_texts:,} may wait",
            retry_after_s=min(max(1, wait_s), _LONGEST_RETRY_S),
        )

    def _wake(self) -> None:
        if self._idle:
            with self._ready:
                self._ready.notify()

    def _give_up(self, job: Job) -> None:
        """Forget a job whose deadline has passed, or whose caller has gone."""
        if self._end(job) and not job.answer.done():
            job.answer.set_exception(Problem("too-late", f"there was no answer within {self._deadline_s:g} seconds"))

    def _work(self) -> None:
        """Run passes until the batcher is closed and nothing waits; the life of one thread."""
        while (taken := self._next()) is not None:
            try:
                outcomes = self._settled(taken)
            except Exception as error:  # such as too little memory: the thread must go on
                _log_failure(taken, error)
                outcomes = [outcome for part in taken.parts for outcome in self._failed(part.job)]
            _deliver(outcomes)

    def _next(self) -> Pass | None:
        with self._ready:
            while (taken := self._waiting.take(idle=self._idle + 1)) is None:
                if self._closed:
                    return None
                self._idle += 1
                self._ready.wait()
                self._idle -= 1
            if self._idle and (self._waiting.texts or self._waiting.patient_texts):
                self._ready.notify()
            self._tell_waiting()
        return taken

    def _settled(self, taken: Pass) -> list[_Outcome]:
        """Return how each part of a pass ended for the jobs that are over with it."""
        try:
            answers = self._run(taken)
        except Exception as error:
            if len(taken.parts) == 1:
                _log_failure(taken, error)
                return self._failed(taken.parts[0].job)
            # One request's texts must not fail the others'.
            alone = [Pass(taken.model, taken.long_texts, [part]) for part in taken.parts]
            return [outcome for each in alone for outcome in self._settled(each)]
        return [
            outcome for part, answer in zip(taken.parts, answers, strict=True) for outcome in self._done(part, answer)
        ]

    def _run(self, taken: Pass) -> list[Predictions]:
        """Return what the model says of each part, by the bundle's own threshold."""
        texts = taken.texts
        began = time.perf_counter()
        predictions = taken.model.bundle.predict(texts, long_texts=taken.long_texts)
        seconds = time.perf_counter() - began
        self._metrics.batch(model=taken.model.name, texts=len(texts), seconds=seconds)
        with self._ready:
            newest = seconds / max(1, len(texts))
            self._seconds_a_text += (newest - self._seconds_a_text) * (_RATE_WEIGHT if self._seconds_a_text else 1)
        return _apart(predictions, taken.parts)

    def _done(self, part: Part, answer: Predictions) -> list[_Outcome]:
        """Return the job's outcome if this was the last of its parts."""
        job = part.job
        with self._ready:
            job.parts[part.start] = answer
            if job.over or sum(map(len, job.parts.values())) < len(job.texts):
                return []
        whole = _by_threshold(joined([job.parts[start] for start in sorted(job.parts)]), job)
        return [(job, whole)] if self._end(job) else []

    def _failed(self, job: Job) -> list[_Outcome]:
        problem = Problem("failed", f"model {job.model.name} could not be run")
        return [(job, problem)] if self._end(job) else []

    def _end(self, job: Job) -> bool:
        """Return whether a job was not over yet; it is now, and none of its texts waits."""
        with self._ready:
            if job.over:
                return False
            job.over = True
            self._waiting.drop(job)
            self._tell_waiting()
            return True

    def _tell_waiting(self) -> None:
        self._metrics.waiting(self._waiting.texts + self._waiting.patient_texts)


def _apart(predictions: Predictions, parts: Sequence[Part]) -> list[Predictions]:
    """Return the predictions of a pass as those of its parts."""
    if len(parts) == 1:
        return [predictions]
    found = []
    start = 0
    for part in parts:
        found.append(_rows(predictions, slice(start, start + len(part.texts))))
        start += len(part.texts)
    return found


def _rows(predictions: Predictions, rows: slice) -> Predictions:
    positive = predictions.positive_probability
    return Predictions(
        label_names=predictions.label_names,
        labels=predictions.labels[rows],
        probabilities=predictions.probabilities[rows],
        positive_probability=None if positive is None else positive[rows],
        tokens=predictions.tokens[rows],
        cut=predictions.cut[rows],
    )


def _by_threshold(predictions: Predictions, job: Job) -> Predictions:
    """Return the predictions with the labels that the job's own threshold makes of the probabilities."""
    if job.threshold is None:
        return predictions
    bundle = job.model.bundle
    positive = positions(bundle.manifest.positive, among=bundle.labels)
    labels = decide(predictions.probabilities, positive=positive, threshold=job.threshold)
    return replace(predictions, labels=labels)


def _deliver(outcomes: Sequence[_Outcome]) -> None:
    """Hand outcomes to the event loops that wait for them, those of one loop together."""
    loops: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for outcome in outcomes:
        loops.setdefault(outcome[0].answer.get_loop(), []).append(outcome)
    for loop, theirs in loops.items():
        try:
            loop.call_soon_threadsafe(_answer, theirs)
        except RuntimeError:
            logger.debug("an event loop was closed before %d answers came", len(theirs))


def _answer(outcomes: Sequence[_Outcome]) -> None:
    for job, outcome in outcomes:
        if job.answer.done():  # cancelled
            continue
        if isinstance(outcome, Problem):
            job.answer.set_exception(outcome)
        else:
            job.answer.set_result(outcome)


def _log_failure(taken: Pass, error: Exception) -> None:
    """Say where a model failed; and what was said there, unless that may quote a comment."""
    try:
        taken.model.bundle.predict([""])
    except Exception as general:  # it fails on any text
        said = f"{type(general).__name__}: {general}"
    else:
        said = type(error).__name__
    texts = taken.texts
    logger.error(
        "model %s failed on %d texts of %d characters: %s\n%s",
        taken.model.name,
        len(texts),
        sum(map(len, texts)),
        said,
        "".join(traceback.format_tb(error.__traceback__)),
    )
