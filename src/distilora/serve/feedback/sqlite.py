"""Judgements in a SQLite file."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any

from distilora.data.faults import first_line, printable
from distilora.errors import FeedbackError
from distilora.serve.feedback.sql import DELETE, FORM, INSERT, SqlFeedback, Values

APPLICATION_ID = 0x64737466
"""Marks the files of ours: "dstf" in the header, https://www.sqlite.org/fileformat2.html#application_id."""
_BUSY_S = 10.0
# text last: what is behind it could only be reached through all its pages.
_SCHEMA = (
    """CREATE TABLE distilora_feedback (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        created TEXT NOT NULL,
        label TEXT NOT NULL,
        predicted TEXT NOT NULL,
        probability REAL NOT NULL,
        model TEXT NOT NULL,
        bundle TEXT NOT NULL,
        threshold REAL,
        text_key BLOB NOT NULL,
        note TEXT,
        text TEXT NOT NULL
    )""",
    "CREATE INDEX distilora_feedback_texts ON distilora_feedback (text_key)",
    "CREATE INDEX distilora_feedback_verdicts ON distilora_feedback (label, predicted)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {FORM}",
)
_REASONS = {
    sqlite3.SQLITE_NOTADB: "is not a SQLite file; give another one",
    sqlite3.SQLITE_CORRUPT: "is damaged; put back a copy, or move it away to begin anew",
    sqlite3.SQLITE_BUSY: "is held by another program; close that, or try again",
    sqlite3.SQLITE_FULL: "the disk is full; make room",
    sqlite3.SQLITE_READONLY: "cannot be written; see who owns it and its folder",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; see who owns it and its folder",
}


class SqliteFeedback(SqlFeedback):
    """Judgements in a SQLite file; every row is on disk before :meth:`add` returns.

    One connection, taken in turns. WAL lets other processes read while one writes; ``synchronous=FULL`` syncs each row
    (https://www.sqlite.org/pragma.html#pragma_synchronous).

    Args:
        where: path of the file; made with the first row.
        most_rows: rows that may be kept.

    Raises:
        FeedbackError: the file is something else, damaged, or will not be writable.
    """

    def __init__(self, where: str, *, most_rows: int) -> None:
        super().__init__(printable(where), most_rows=most_rows)
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._closed = False
        with self._failures():
            self._path = Path(where).absolute()
            self._refuse_hopeless()
            self._connected(make=False)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._closed = True
            self._disconnect()

    def _read(self, query: str, values: Values) -> Sequence[tuple[Any, ...]]:
        with self._lock, self._failures():
            connection = self._connected(make=False)
            return connection.execute(query, values).fetchall() if connection else []

    def _insert(self, values: Values) -> int | None:
        with self._lock, self._failures():
            connection = self._connected(make=True)
            if connection is None:
                raise FeedbackError(f"{self.place}: cannot be made")
            cursor = connection.execute(INSERT, values)
            return cursor.lastrowid if cursor.rowcount == 1 else None

    def _delete(self, values: Values) -> bool:
        with self._lock, self._failures():
            connection = self._connected(make=False)
            return connection is not None and connection.execute(DELETE, values).rowcount == 1

    def _connected(self, *, make: bool) -> sqlite3.Connection | None:
        """Return the connection to the file that the path leads to now, or ``None`` if there is none."""
        if self._closed:
            raise FeedbackError(f"{self.place}: is closed")
        file = _identity(self._path)
        if self._connection is not None and file == self._file:
            return self._connection
        self._leave()
        if file is None and not make:
            return None
        _make_private(self._path)
        self._file = _identity(self._path)
        self._connection = self._connect()
        return self._connection

    def _leave(self) -> None:
        """Disconnect from a file that was moved or deleted: rows would go where nobody looks for them.

        The log keeps its old name. So the file that it belongs to gets the rows that are in it, and it is emptied,
        or SQLite would put them into whatever file is there now.
        """
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> sqlite3.Connection:
        # isolation_level None: each statement is a transaction of its own. The lock keeps threads apart.
        connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        with _transaction(connection, "BEGIN"):
            ours = self._is_ours(connection)
        _execute_patiently(connection, "PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # macOS: past the disk's own memory
        if not ours:
            self._make_table(connection)

    def _make_table(self, connection: sqlite3.Connection) -> None:
        with _transaction(connection, "BEGIN IMMEDIATE"):
            if not self._is_ours(connection):  # else another process was faster
                for statement in _SCHEMA:
                    connection.execute(statement)

    def _is_ours(self, connection: sqlite3.Connection) -> bool:
        """Return whether the table is there, or ``False`` if the file is empty; raise if it is anything else."""
        mark, form, tables = (
            connection.execute(query).fetchone()[0]
            for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
        )
        if (mark, form, tables) == (0, 0, 0):
            return False
        if mark != APPLICATION_ID:
            raise FeedbackError(f"{self.place}: is a database of another program; give another file for feedback")
        if form != FORM:
            raise FeedbackError(
                f"{self.place}: is feedback in form {form}, this version of distilora knows form {FORM}; "
                "update distilora, or give another file"
            )
        return True

    def _refuse_hopeless(self) -> None:
        """Raise if the file cannot be written, or made where it is not there."""
        if self._path.exists():
            if not self._path.is_file():
                raise FeedbackError(f"{self.place}: is not a file; give a file for feedback")
            if not os.access(self._path, os.R_OK | os.W_OK):
                raise FeedbackError(f"{self.place}: cannot be written; see who owns it")
            return
        folder = self._path.parent
        if not folder.is_dir():
            raise FeedbackError(f"{self.place}: its folder is not there; make it first")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise FeedbackError(f"{self.place}: its folder cannot be written; give a file elsewhere")

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Turn the failures of SQLite and of the file into one line."""
        try:
            yield
        except sqlite3.Error as failure:
            code = getattr(failure, "sqlite_errorcode", 0) & 0xFF  # the lowest byte is the kind
            raise FeedbackError(f"{self.place}: {_REASONS.get(code, first_line(failure))}") from failure
        except (OSError, ValueError) as failure:
            reason = failure.strerror if isinstance(failure, OSError) and failure.strerror else first_line(failure)
            raise FeedbackError(f"{self.place}: cannot be used: {reason}") from failure


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _make_private(path: Path) -> None:
    """Make the file where it is not there, for its owner alone; SQLite gives its helpers' files the same rights."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # or the name could be lost in a power cut, and every row with it
    finally:
        os.close(folder)


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _execute_patiently(connection: sqlite3.Connection, statement: str) -> None:
    """Execute what SQLite does not itself wait for while another process holds the file."""
    until = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute(statement)
        except sqlite3.OperationalError as failure:
            if failure.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return
