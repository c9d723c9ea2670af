"""What tests in several files share without naming it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(autouse=True)
def _levels_of_the_logs() -> Iterator[None]:
    # The command line sets them for its process, which here is that of the tests that follow.
    loggers = [logging.getLogger(name) for name in ("distilora", "distilora.serve")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Closed with its module: Playwright keeps an event loop of its own, beside which other tests cannot run theirs.
    from browser_cases import chromium

    with chromium() as browser:
        yield browser
