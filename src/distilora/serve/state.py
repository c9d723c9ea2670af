"""What every request may need, made once when the server starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, cast

from fastapi import Depends, Request

from distilora.serve.batcher import Batcher
from distilora.serve.catalog import Catalog
from distilora.serve.feedback.store import FeedbackStore
from distilora.serve.files.slots import Slots
from distilora.serve.metrics import Metrics
from distilora.serve.settings import ServeSettings


@dataclass
class Phase:
    """Where the server is in its life."""

    draining: bool = False
    """SIGTERM came: requests are still answered, but each closes its connection and ``/readyz`` says no."""


@dataclass(frozen=True, eq=False)
class Served:
    """All that stands behind the application."""

    settings: ServeSettings
    catalog: Catalog
    batcher: Batcher
    metrics: Metrics
    feedback: FeedbackStore | None = None
    """Absent where feedback is off."""
    phase: Phase = field(default_factory=Phase)

    @cached_property
    def file_slots(self) -> Slots:
        """Places for files that are answered at once."""
        return Slots(self.settings.limits.files)


def served_by(request: Request) -> Served:
    """Return what the application was made with."""
    return cast("Served", request.app.state.served)


async def _served(request: Request) -> Served:  # not async, FastAPI would take it to a thread
    return served_by(request)


State = Annotated[Served, Depends(_served)]
"""As a parameter of a route: what the application was made with."""
