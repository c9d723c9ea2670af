"""``distilora`` in processes of its own that are at work at once, for tests that kill them."""

from __future__ import annotations

import gc
import multiprocessing
import sys
from collections.abc import Sequence
from multiprocessing.process import BaseProcess

from distilora.cli import main

# Importing all that trains takes seconds: one process does it, nothing else, and each command is a fork of that one.
_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(["distilora.cli.app", "distilora.api", "distilora.evaluation.tfidf"])


def started(words: Sequence[object]) -> BaseProcess:
    """Return a new process that does what ``distilora`` does with these words; its exit code is the command's."""
    process = _FORKING.Process(target=_run, args=([str(word) for word in words],))
    process.start()
    return process


def _run(words: Sequence[str]) -> None:
    gc.freeze()  # what was imported is no garbage, and a training looks for some
    sys.argv = ["distilora", *words]
    main()
