"""Processes that are asked: the other end of :mod:`distilora.bench.probe`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self, cast

from distilora.bench.contenders import Identity, Labelled
from distilora.errors import (
    BundleError,
    ConfigError,
    DistiloraError,
    HubError,
    ModelError,
    RunError,
)

_ERRORS = {error.__name__: error for error in (BundleError, ConfigError, HubError, ModelError, RunError)}
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Opened:
    """What opening a contender in a fresh process showed."""

    identity: Identity
    load_seconds: float
    memory_mib: float | None


class _Probe:
    """A process that answers until the context is left."""

    def __init__(self, *arguments: object, of: str, environment: Mapping[str, str]) -> None:
        self._of = of
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the context; a pipe could fill up
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter and this package
            [sys.executable, "-m", "distilora.bench.probe", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env={**os.environ, **environment},
            text=True,
            encoding="utf-8",
        )
        self._questions = cast("IO[str]", self._process.stdin)
        self._answers = cast("IO[str]", self._process.stdout)

    def __enter__(self) -> Self:
        """Return the process."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._complaints.close()

    def _ask(self, name: str, *details: object) -> Any:
        """Return the answer to a question.

        Raises:
            DistiloraError: as the process raised it; or the process has ended.
        """
        try:
            self._questions.write(json.dumps([name, *details]) + "\n")
            self._questions.flush()
            line = self._answers.readline()
        except BrokenPipeError:
            line = ""
        if not line.endswith("\n"):  # it ended, perhaps in the middle of an answer
            raise DistiloraError(self._last_words())
        answer = json.loads(line)
        if "error" in answer:
            raise _ERRORS.get(answer["error"], DistiloraError)(answer["line"])
        return answer["answer"]

    def _last_words(self) -> str:
        code = self._process.wait()
        self._complaints.seek(0)
        said = self._complaints.read().decode(errors="replace").strip().splitlines()
        why = said[-1] if said else "it said nothing; was there memory enough?"
        return f"{self._of}: its process ended with exit code {code}: {why}"


class ContenderProbe(_Probe):
    """A contender in a process of its own.

    Args:
        folder: of the bundle or run.
        texts: JSON file of the texts.
        threads: that it may use.
        of: what the user called it, for errors.
    """

    def __init__(self, folder: Path, *, texts: Path, threads: int, of: str) -> None:
        super().__init__("contender", folder, texts, threads, of=of, environment={})

    def open(self) -> Opened:
        """Return who it is and what opening it took; later calls measure nothing."""
        answer = self._ask("open")
        identity = {**answer["identity"], "labels": tuple(answer["identity"]["labels"])}
        return Opened(Identity(**identity), load_seconds=answer["load_seconds"], memory_mib=answer["memory_mib"])

    def label(self) -> tuple[Labelled, float]:
        """Return what it says of all texts, and the most memory in MiB that its process has held by then."""
        answer = self._ask("label")
        return Labelled(**answer["labelled"]), float(answer["memory_peak_mib"])

    def run_all(self) -> float:
        """Return the seconds for all texts."""
        return float(self._ask("run_all"))

    def run_each(self, rows: Sequence[int]) -> list[float]:
        """Return the seconds for each of some texts, by position, one at a time."""
        seconds: list[float] = self._ask("run_each", list(rows))
        return seconds

    def make_texts(self, tokens: int, *, amount: int) -> list[str]:
        """Return texts of so many of its tokens, as :func:`distilora.bench.texts.texts_of_length` makes them."""
        texts: list[str] = self._ask("make_texts", tokens, amount)
        return texts

    def run_texts(self, texts: Sequence[str]) -> list[float]:
        """Return the seconds for each of these texts, one at a time."""
        seconds: list[float] = self._ask("run_texts", list(texts))
        return seconds


class MachineProbe(_Probe):
    """Matrix products in a process of their own, whose libraries use so many threads.

    Args:
        threads: of every library.
    """

    def __init__(self, *, threads: int) -> None:
        environment = dict.fromkeys(_THREAD_VARIABLES, str(threads))
        super().__init__("machine", threads, of="matrix products", environment=environment)

    def measure(self) -> dict[str, float]:
        """Return operations a second by precision; those that this installation cannot compute in are absent."""
        rates: dict[str, float] = self._ask("measure")
        return rates
