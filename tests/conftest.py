"""What tests in several files share without naming it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Closed with its module: Playwright keeps an event loop of its own, beside which other tests cannot run theirs.
    from browser_cases import chromium

    with chromium() as browser:
        yield browser
