"""Judgements in PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, LifoQueue
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any

from distilora.data.faults import first_line, printable
from distilora.errors import FeedbackError, MissingExtraError
from distilora.serve.feedback.sql import DELETE, FORM, INSERT, SqlFeedback, Values

if TYPE_CHECKING:
    from psycopg import Connection

_CONNECTIONS = 4
_MARK = "distilora feedback, form "
_SCHEMA = (
    """CREATE TABLE distilora_feedback (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        created text NOT NULL,
        label text NOT NULL,
        predicted text NOT NULL,
        probability double precision NOT NULL,
        model text NOT NULL,
        bundle text NOT NULL,
        threshold double precision,
        text_key bytea NOT NULL,
        note text,
        text text NOT NULL
    )""",
    "CREATE INDEX distilora_feedback_texts ON distilora_feedback (text_key, id)",
    f"COMMENT ON TABLE distilora_feedback IS '{_MARK}{FORM}'",
)
_DESCRIPTION = (
    "SELECT to_regclass('distilora_feedback'), obj_description(to_regclass('distilora_feedback'), 'pg_class')"
)
# Any number, the same in every process: only one makes the table.
_LOCK = "SELECT pg_advisory_xact_lock(1685288038)"
# A role or a database may have it off, but a row that was acknowledged must survive a power cut.
_DURABLE = """
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""
_WAITS = {"connect_timeout": "5", "keepalives_idle": "10", "tcp_user_timeout": "10000"}
_FORM = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with @ : / % ? # of a password as %40 %3A %2F %25 %3F %23"


class PostgresFeedback(SqlFeedback):
    """Judgements in a table ``distilora_feedback`` of a PostgreSQL database, through up to four connections.

    A connection is tried before it is used, and replaced if the server went away: a statement is never sent twice.

    Args:
        where: a ``postgresql://`` address; its password stands in no error.
        most_rows: rows that may be kept.

    Raises:
        FeedbackError: the address is wrong, the server does not answer, or the table is not ours.
        MissingExtraError: psycopg is not installed.
    """

    def __init__(self, where: str, *, most_rows: int) -> None:
        try:
            import psycopg
        except ImportError:
            raise MissingExtraError("psycopg", "postgres") from None
        self._psycopg = psycopg
        self._address = _parsed(where)
        super().__init__(_place(self._address), most_rows=most_rows)
        self._turns = BoundedSemaphore(_CONNECTIONS)
        self._idle: LifoQueue[Connection[tuple[Any, ...]]] = LifoQueue()
        self._closed = False
        with self._lent() as connection, connection.transaction():
            self._make_table(connection)

    def close(self) -> None:
        """Let go of the database; statements in hand still end."""
        self._closed = True
        while (connection := self._waiting()) is not None:
            connection.close()

    def _read(self, query: str, values: Values) -> Sequence[tuple[Any, ...]]:
        with self._lent() as connection:
            return connection.execute(_translated(query), values).fetchall()

    def _insert(self, values: Values) -> int | None:
        with self._lent() as connection:
            stored = connection.execute(_translated(f"{INSERT} RETURNING id"), values).fetchone()
        return None if stored is None else int(stored[0])

    def _delete(self, values: Values) -> bool:
        with self._lent() as connection:
            return connection.execute(_translated(DELETE), values).rowcount == 1

    def _make_table(self, connection: Connection[tuple[Any, ...]]) -> None:
        """Make the table if it is not there, one process at a time; whoever may not make tables can use one."""
        connection.execute(_LOCK)
        table, description = connection.execute(_DESCRIPTION).fetchone() or (None, None)
        if table is None:
            for statement in _SCHEMA:
                connection.execute(statement)
        elif description != f"{_MARK}{FORM}":
            raise FeedbackError(
                f"{self.place}: the table distilora_feedback is of another program or of another version of distilora; "
                "update distilora, or give another database"
            )

    @contextmanager
    def _lent(self) -> Iterator[Connection[tuple[Any, ...]]]:
        """Give a connection that works; one that failed is not used again."""
        with self._turns, self._failures():
            connection = self._working()
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            self._idle.put(connection)
        if self._closed:
            self.close()

    def _working(self) -> Connection[tuple[Any, ...]]:
        if self._closed:
            raise FeedbackError(f"{self.place}: is closed")
        while (connection := self._waiting()) is not None:
            try:
                connection.execute("SELECT 1")
            except self._psycopg.Error:
                connection.close()
            else:
                return connection
        return self._connect()

    def _waiting(self) -> Connection[tuple[Any, ...]] | None:
        try:
            return self._idle.get_nowait()
        except Empty:
            return None

    def _connect(self) -> Connection[tuple[Any, ...]]:
        # No prepared statements: behind PgBouncer the next transaction may run on another server process.
        connection = self._psycopg.connect(
            **self._address,
            autocommit=True,
            prepare_threshold=None,
        )
        try:
            connection.execute(_DURABLE)
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Turn what PostgreSQL says into one line; ``from None``, for the rest may show the statement's values."""
        try:
            yield
        except self._psycopg.Error as failure:
            said = failure.diag.message_primary or first_line(failure)
            for key in ("password", "sslpassword", "passfile"):
                said = said.replace(str(self._address.get(key) or "\0"), "…")
            raise FeedbackError(f"{self.place}: {printable(said)}") from None


def _parsed(where: str) -> dict[str, Any]:
    """Return the parts of an address; raise FeedbackError, without showing it, if a part may be of the password."""
    from psycopg.conninfo import conninfo_to_dict

    wrong = FeedbackError(f"the address of PostgreSQL cannot be read; write {_FORM}")
    try:
        parts = conninfo_to_dict(where)
    except Exception:  # whatever it is, it quotes the address
        raise wrong from None
    port = str(parts.get("port") or "5432")
    shown = "".join(str(parts.get(key) or "") for key in ("host", "dbname", "user"))
    if not re.fullmatch(r"\d+(,\d+)*", port) or "@" in shown:
        raise wrong
    return {**_WAITS, **parts}


def _place(address: Values) -> str:
    """Return an address for messages: without user and password.

    Example:
        >>> _place({"host": "db.example", "dbname": "moderation", "password": "geheim"})
        'postgresql://db.example/moderation'
    """
    port = f":{address['port']}" if address.get("port") else ""
    return printable(f"postgresql://{address.get('host') or ''}{port}/{address.get('dbname') or ''}")


def _translated(query: str) -> str:
    """Return a query with its parameters named as psycopg names them.

    Example:
        >>> _translated("SELECT :model")
        'SELECT %(model)s'
    """
    return re.sub(r":(\w+)", r"%(\1)s", query)
