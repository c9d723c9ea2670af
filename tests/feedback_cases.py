"""Judgements and databases for the tests of feedback."""

from __future__ import annotations

import os
from typing import Any

import pytest

from distilora.serve.feedback.store import NewFeedback

POSTGRES = os.environ.get("DISTILORA_TEST_POSTGRES")
"""Address of a database without ``options``; the tests keep to a schema of their own in it."""
RESTART = os.environ.get("DISTILORA_TEST_POSTGRES_RESTART")
"""A command that restarts that server."""
_SCHEMA = "distilora_test"

needs_postgres = pytest.mark.skipif(not POSTGRES, reason="DISTILORA_TEST_POSTGRES names no database")
needs_restart = pytest.mark.skipif(
    not POSTGRES or not RESTART, reason="DISTILORA_TEST_POSTGRES_RESTART is no command that restarts the server"
)


def judged(text: str = "what a lovely day", label: str = "civil", **changes: Any) -> NewFeedback:
    fields = {"predicted": "toxic", "probability": 0.61, "model": "odd", "bundle": "b" * 64, "threshold": 0.5}
    return NewFeedback(text=text, label=label, **{**fields, "note": None, **changes})


def empty_postgres(*, options: str = "") -> str:
    """Return the address of a database without any table, for sessions with these options."""
    import psycopg

    with psycopg.connect(str(POSTGRES), autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {_SCHEMA} CASCADE")
        connection.execute(f"CREATE SCHEMA {_SCHEMA}")
    separator = "&" if "?" in str(POSTGRES) else "?"
    return f"{POSTGRES}{separator}options=-csearch_path%3D{_SCHEMA}{options}"
