"""What a training leaves to be told of, beside its losses."""

from __future__ import annotations

from typing import Literal

from distilora.records import Record

Kind = Literal["plateau", "divergence", "spike", "not-finite", "collapse", "gradient"]
"""What can go wrong."""
Action = Literal["warn", "lower-rate", "stop"]


class Event(Record):
    """One thing that the monitor saw, and what it did."""

    step: int
    epoch: float
    kind: Kind
    value: float | None
    """What was measured, as the message says; absent where it is no finite number."""
    message: str
    action: Action
