"""What every record that is kept in a file has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen record that is written to a file as JSON and read from it; an unknown key is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
