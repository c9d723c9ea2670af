"""Texts that wait for a model, and which of them a free thread takes next; no threads, no clock, no lock of its own."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from distilora.bundles.predictions import Predictions
from distilora.bundles.tokens import LongTexts
from distilora.serve.catalog import ServedModel

MOST_TEXTS = 128
"""Of one pass. On tweets, 64 texts are a tenth slower each, 512 a tenth faster, but others wait for them longer."""
MOST_CHARACTERS = 24_000
"""Of one pass, as far as the model reads them: about as much work as ``MOST_TEXTS`` tweets."""
FEWEST_TEXTS = 8
"""A request is spread over idle threads, but not in smaller parts."""
PATIENT_TEXTS = 64
"""Of a pass of patient texts, for requests that come meanwhile wait for its end."""
PATIENT_TURN = 8
"""Passes of requests until patient texts get one, however many requests wait."""
_CHARACTERS_A_TOKEN = 4


@dataclass(eq=False, slots=True)
class Job:
    """One request's texts and who waits for their answers."""

    model: ServedModel
    texts: Sequence[str]
    threshold: float | None
    long_texts: LongTexts
    patient: bool
    number: int
    """In the order of arrival."""
    answer: asyncio.Future[Predictions]
    taken: int = 0
    """Texts that threads have taken."""
    parts: dict[int, Predictions] = field(default_factory=dict)
    """Answers so far, by the position of their first text."""
    over: bool = False
    """Answered, failed or given up."""


class Part(NamedTuple):
    """Some neighbouring texts of a job."""

    job: Job
    start: int
    texts: Sequence[str]


class Pass(NamedTuple):
    """What one thread runs at once: texts for one model, of one job or several."""

    model: ServedModel
    long_texts: LongTexts
    parts: list[Part]

    @property
    def texts(self) -> list[str]:
        """Return the texts of all parts, one behind the other."""
        return [text for part in self.parts for text in part.texts]


@dataclass(eq=False, slots=True)
class _Line:
    """Jobs that can share a pass, the oldest first."""

    jobs: deque[Job] = field(default_factory=deque)
    texts: int = 0


class Waiting:
    """Jobs in lines, one for each model and way with long texts; patient ones apart."""

    def __init__(self) -> None:
        self.texts = 0
        """Of requests."""
        self.patient_texts = 0
        self._lines: dict[tuple[bool, str, LongTexts], _Line] = {}
        self._since_patient = 0

    def add(self, job: Job) -> None:
        """Put a job at the end of its line."""
        line = self._lines.setdefault(_line_of(job), _Line())
        line.jobs.append(job)
        self._count(line, job, len(job.texts))

    def drop(self, job: Job) -> None:
        """Take out what is left of a job; nothing happens where all of it was taken."""
        line = self._lines.get(_line_of(job))
        if line is not None and job in line.jobs:
            line.jobs.remove(job)
            self._count(line, job, job.taken - len(job.texts))
            self._forget_empty(job)

    def take(self, *, idle: int) -> Pass | None:
        """Return what a free thread should run now, or nothing where nothing waits.

        It is for the model whose oldest request waits longest, and everything that has come for it, as long as that is
        no more than a pass may hold, nor than this thread's share of it.

        Args:
            idle: threads that have nothing to do, this one too.
        """
        line = self._next_line()
        if line is None:
            return None
        first = line.jobs[0]
        self._since_patient = 0 if first.patient else self._since_patient + 1
        for_this_line = max(1, idle - len(self._lines) + 1)
        share = max(FEWEST_TEXTS, -(-line.texts // for_this_line))
        parts = self._parts(line, most=min(share, PATIENT_TEXTS if first.patient else MOST_TEXTS))
        self._forget_empty(first)
        return Pass(first.model, first.long_texts, parts)

    def _next_line(self) -> _Line | None:
        """Return the line with the oldest job; of patient ones only when it is their turn."""
        patient = [line for (is_patient, _, _), line in self._lines.items() if is_patient]
        others = [line for (is_patient, _, _), line in self._lines.items() if not is_patient]
        lines = patient if patient and (not others or self._since_patient >= PATIENT_TURN) else others
        return min(lines, key=lambda line: line.jobs[0].number, default=None)

    def _parts(self, line: _Line, *, most: int) -> list[Part]:
        """Return the first texts of a line, taken out; one at least, however long it is."""
        parts: list[Part] = []
        characters = MOST_CHARACTERS
        while line.jobs and most > 0 and characters > 0:
            job, stop = line.jobs[0], line.jobs[0].taken
            while stop < len(job.texts) and most > 0 and characters > 0:
                characters -= min(len(job.texts[stop]), _reach(job))
                most -= 1
                stop += 1
            parts.append(Part(job, job.taken, job.texts[job.taken : stop]))
            self._count(line, job, job.taken - stop)
            job.taken = stop
            if stop == len(job.texts):
                line.jobs.popleft()
        return parts

    def _count(self, line: _Line, job: Job, texts: int) -> None:
        line.texts += texts
        if job.patient:
            self.patient_texts += texts
        else:
            self.texts += texts

    def _forget_empty(self, job: Job) -> None:
        if not self._lines[_line_of(job)].jobs:
            del self._lines[_line_of(job)]


def _line_of(job: Job) -> tuple[bool, str, LongTexts]:
    return job.patient, job.model.name, job.long_texts


def _reach(job: Job) -> int:
    """Return how many characters of a text are work for the model, at a guess."""
    if job.long_texts == "windows":
        return sys.maxsize
    return _CHARACTERS_A_TOKEN * (job.model.bundle.max_length)
