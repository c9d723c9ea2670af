"""One contender, or the machine, in a process of its own, so that load time and memory are its own alone.

    python -m distilora.bench.probe contender FOLDER TEXTS THREADS
    python -m distilora.bench.probe machine THREADS

TEXTS is a JSON file of texts. Each line of standard input is a question, ``[name, argument, …]`` in JSON, each line of
standard output its answer: ``{"answer": …}``, or ``{"error": class, "line": text}``. The first question starts the
clock of the load time, so nothing heavy is imported before.
"""

from __future__ import annotations

import json
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from distilora.errors import DistiloraError

if TYPE_CHECKING:
    from distilora.bench.contenders import Contender

Questions = dict[str, Callable[..., Any]]
_WARM_UP = 5


def main() -> None:
    """Answer questions until there are no more."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    answers = _own_channel()
    subject, *arguments = sys.argv[1:]
    questions = _SUBJECTS[subject](*arguments)
    for line in sys.stdin:
        name, *details = json.loads(line)
        print(json.dumps(_answered(questions[name], details)), file=answers, flush=True)


def _end_with_parent() -> None:
    """End the process, in the middle of an answer too, once nobody can ask any more: who asks was killed."""
    questions = select.poll()
    questions.register(sys.stdin.fileno(), 0)  # no event but the other end's closing
    questions.poll()
    os._exit(0)


def _own_channel() -> TextIO:
    """Return standard output, which libraries that print get no more."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def _answered(question: Callable[..., Any], details: list[Any]) -> dict[str, Any]:
    try:
        return {"answer": question(*details)}
    except DistiloraError as error:
        return {"error": type(error).__name__, "line": str(error)}


def _contender_questions(folder: str, texts: str, threads: str) -> Questions:
    probed = _Probed(Path(folder), Path(texts), threads=int(threads))
    return {
        "open": probed.open,
        "label": probed.label,
        "run_all": probed.run_all,
        "run_each": probed.run_each,
        "make_texts": probed.make_texts,
        "run_texts": probed.run_texts,
    }


def _machine_questions(threads: str) -> Questions:
    from distilora.bench.machine import MatrixRates

    rates = MatrixRates(threads=int(threads))
    return {"measure": rates.measure}


class _Probed:
    """A contender, opened when it is first asked for."""

    def __init__(self, folder: Path, texts: Path, *, threads: int) -> None:
        self._folder = folder
        self._file = texts
        self._threads = threads

    @cached_property
    def _contender(self) -> Contender:
        from distilora.bench.contenders import open_contender

        return open_contender(self._folder, threads=self._threads)

    @cached_property
    def _texts(self) -> list[str]:
        texts: list[str] = json.loads(self._file.read_text(encoding="utf-8"))
        return texts

    def open(self) -> dict[str, Any]:
        """Return who it is, how long it took to open, and the memory that it then holds."""
        seconds = _seconds(lambda: self._contender)
        from distilora.machine import resident_mib

        memory = resident_mib()
        return {"identity": asdict(self._contender.identity), "load_seconds": seconds, "memory_mib": memory}

    def label(self) -> dict[str, Any]:
        """Return what it says of all texts, and the most memory that it has held by then."""
        from distilora.machine import peak_resident_mib

        labelled = asdict(self._contender.label_all(self._texts))
        return {"labelled": labelled, "memory_peak_mib": peak_resident_mib()}

    def run_all(self) -> float:
        """Return the seconds for all texts."""
        return _seconds(lambda: self._contender.run_all(self._texts))

    def run_each(self, rows: list[int]) -> list[float]:
        """Return the seconds for each of some texts, one at a time, after a few more that only warm it up."""
        return self.run_texts([self._texts[row] for row in rows])

    def make_texts(self, tokens: int, amount: int) -> list[str]:
        """Return texts of so many of its own tokens, made of the words of all texts."""
        from distilora.bench.texts import texts_of_length

        return texts_of_length(self._texts, tokens, amount=amount, count=self._contender.count_tokens)

    def run_texts(self, texts: list[str]) -> list[float]:
        """Return the seconds for each of these texts, one at a time, after a few that only warm it up."""
        for text in texts[:_WARM_UP]:
            self._contender.run_one(text)
        return [_seconds(partial(self._contender.run_one, text)) for text in texts]


_SUBJECTS: dict[str, Callable[..., Questions]] = {"contender": _contender_questions, "machine": _machine_questions}


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
