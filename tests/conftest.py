"""What tests in several files share without naming it."""

from __future__ import annotations

import gc
import logging
import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser


# Models of tests are tiny, and tests run in as many processes as there are processors: more threads would only wait for
# each other. It is read when NumPy and torch are loaded, which this file comes before.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell without job control lets what it starts in the background ignore Ctrl-C, and what that starts in turn.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Set apart what the imports of all tests have left: each training begins by collecting garbage all over it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _levels_of_the_logs() -> None:
    # The command line sets them for its process, which here is that of the tests that follow.
    for name in ("distilora", "distilora.serve"):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Closed with its module: Playwright keeps an event loop of its own, beside which other tests cannot run theirs.
    from browser_cases import chromium

    with chromium() as browser:
        yield browser
