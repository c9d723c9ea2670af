"""Where judgements are kept: through crashes, by several processes, and in no file that is another's."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from distilora.errors import FeedbackError, FeedbackFullError, MissingExtraError
from distilora.serve.feedback.postgres import PostgresFeedback
from distilora.serve.feedback.store import FeedbackStore, open_feedback
from feedback_cases import RESTART, empty_postgres, judged, needs_postgres, needs_restart

WRITER = """
import sys
from distilora.serve.feedback.store import NewFeedback, open_feedback
store = open_feedback(sys.argv[1], most_rows=1000000)
for number in range(int(sys.argv[3])):
    new = NewFeedback(f"{sys.argv[2]} {number}", "toxic", "civil", 0.75, "odd", "b" * 64, 0.5, None)
    row = store.add(new)
    print(row.id, row.text, flush=True)
"""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=needs_postgres)])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return empty_postgres() if request.param == "postgres" else str(tmp_path / "feedback.sqlite")


@pytest.fixture
def store(where: str) -> Iterator[FeedbackStore]:
    opened = open_feedback(where, most_rows=1000)
    yield opened
    opened.close()


def start_writer(where: str, name: str, *, rows: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, where, name, str(rows)], stdout=subprocess.PIPE, text=True)


def test_a_stored_row_is_what_was_judged(store: FeedbackStore) -> None:
    row = store.add(judged("naïve 🙂 'x'); --", probability=0.123456, note="a\nnote", threshold=None))
    assert store.rows() == [row] == list(store.every())
    assert (
        row.model_dump(exclude={"id", "created", "right"})
        == judged("naïve 🙂 'x'); --", probability=0.123456, note="a\nnote", threshold=None)._asdict()
    )
    assert not row.right


def test_what_no_database_can_hold_is_kept_as_the_replacement_character(store: FeedbackStore) -> None:
    row = store.add(judged("a\0b\ud800c", note="\0"))
    assert (row.text, row.note) == ("a\ufffdb\ufffdc", "\ufffd")
    assert store.rows(model="\0\ud800") == []


def test_rows_come_in_pages_the_newest_first(store: FeedbackStore) -> None:
    numbers = [store.add(judged(f"text {index}", model=("odd", "even")[index % 2])).id for index in range(5)]
    newest = list(reversed(numbers))
    assert [row.id for row in store.rows(limit=2)] == newest[:2]
    assert [row.id for row in store.rows(before=newest[1], limit=2)] == newest[2:4]
    assert [row.id for row in store.rows(model="even")] == newest[1::2]
    assert [row.id for row in store.rows(before=2**70)] == newest
    assert store.rows(before=-1) == []


def test_every_yields_more_rows_than_a_page_holds(store: FeedbackStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distilora.serve.feedback.sql._PAGE_ROWS", 3)
    numbers = [store.add(judged(f"text {index}")).id for index in range(10)]
    rows = store.every()
    found = [next(rows).id]
    store.add(judged("added meanwhile"))
    assert found + [row.id for row in rows] == numbers


def test_the_latest_row_of_a_text_counts(store: FeedbackStore) -> None:
    store.add(judged("Go away", "civil"))
    store.add(judged("stay", "civil"))
    store.add(judged("go  AWAY", "toxic", model="even"))
    assert [(row.text, row.label) for row in store.every(latest=True)] == [("stay", "civil"), ("go  AWAY", "toxic")]
    assert [row.text for row in store.every(latest=True, model="odd")] == ["Go away", "stay"]
    assert len(list(store.every())) == 3


def test_counts_tell_how_often_the_model_was_right(store: FeedbackStore) -> None:
    assert store.counts() == (0, 0)
    store.add(judged(label="civil", predicted="civil"))
    store.add(judged(label="civil", predicted="toxic"))
    assert store.counts() == (2, 1)


def test_a_number_is_never_given_twice(store: FeedbackStore) -> None:
    first = store.add(judged())
    assert store.remove(first.id)
    assert not store.remove(first.id)
    assert not store.remove(2**70)
    assert store.add(judged()).id > first.id


def test_a_full_store_refuses_rows_until_some_are_taken_away(where: str) -> None:
    store = open_feedback(where, most_rows=2)
    first = store.add(judged())
    store.add(judged())
    with pytest.raises(FeedbackFullError, match="2 judgements are kept, as many as are allowed"):
        store.add(judged())
    store.remove(first.id)
    store.add(judged())
    store.close()


def test_rows_are_there_when_the_store_is_opened_again(where: str) -> None:
    store = open_feedback(where, most_rows=10)
    row = store.add(judged())
    store.close()
    with pytest.raises(FeedbackError, match="is closed"):
        store.rows()
    again = open_feedback(where, most_rows=10)
    assert again.rows() == [row]
    again.close()


def test_many_threads_write_at_once(store: FeedbackStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda index: store.add(judged(f"text {index}")), range(40)))
    assert sorted(row.id for row in rows) == sorted(row.id for row in store.every())
    assert store.counts().total == 40


def test_two_processes_make_and_write_one_database(where: str) -> None:
    writers = [start_writer(where, name, rows=30) for name in ("one", "two")]
    acknowledged = [line for writer in writers for line in writer.communicate(timeout=60)[0].splitlines()]
    assert [writer.returncode for writer in writers] == [0, 0]
    store = open_feedback(where, most_rows=1000)
    assert sorted(f"{row.id} {row.text}" for row in store.every()) == sorted(acknowledged)
    assert len(acknowledged) == 60
    store.close()


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_process_loses_no_acknowledged_row(where: str, seed: int) -> None:
    writer = start_writer(where, "row", rows=100_000)
    assert writer.stdout is not None
    acknowledged = [writer.stdout.readline().strip()]
    moment_s = random.Random(seed).uniform(0.005, 0.2)  # noqa: S311
    timer = threading.Timer(moment_s, writer.send_signal, [signal.SIGKILL])
    timer.start()
    # A line that the kill cut short was not acknowledged.
    acknowledged += [line.strip() for line in writer.stdout if line.endswith("\n")]
    assert writer.wait() == -signal.SIGKILL
    writer.stdout.close()
    store = open_feedback(where, most_rows=1_000_000)
    stored = [f"{row.id} {row.text}" for row in store.every()]
    assert stored[: len(acknowledged)] == acknowledged
    # One row more may have been stored and not yet told of.
    assert len(acknowledged) <= len(stored) <= len(acknowledged) + 1
    assert store.add(judged()).id > len(acknowledged)
    store.close()


# SQLite: the file.


def test_nothing_is_written_before_the_first_row_and_then_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "feedback.sqlite"
    store = open_feedback(str(path), most_rows=10)
    assert (store.rows(), store.counts(), list(store.every()), store.remove(1)) == ([], (0, 0), [], False)
    assert list(tmp_path.iterdir()) == []
    store.add(judged())
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
    store.close()
    assert list(tmp_path.iterdir()) == [path]


def test_rows_go_to_the_path_when_its_file_was_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "feedback.sqlite"
    store = open_feedback(str(path), most_rows=10)
    store.add(judged("old"))
    path.rename(tmp_path / "kept.sqlite")
    assert store.rows() == []
    store.add(judged("new"))
    assert [row.text for row in store.rows()] == ["new"]
    store.close()
    kept = open_feedback(str(tmp_path / "kept.sqlite"), most_rows=10)
    assert [row.text for row in kept.rows()] == ["old"]
    kept.close()


def make_foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE feedback (id INTEGER)")
    connection.close()


def make_newer(path: Path) -> None:
    store = open_feedback(str(path), most_rows=10)
    store.add(judged())
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (make_foreign, "is a database of another program; give another file for feedback"),
        (make_newer, "is feedback in form 2, this version of distilora knows form 1; update distilora"),
        (lambda path: path.write_bytes(b"text,label\nnice,civil\n" * 100), "is not a SQLite file"),
        (lambda path: path.mkdir(), "is not a file; give a file for feedback"),
        (os.mkfifo, "is not a file; give a file for feedback"),
    ],
)
def test_a_file_of_something_else_is_refused_and_left_as_it_is(
    tmp_path: Path, make: Callable[[Path], Any], problem: str
) -> None:
    path = tmp_path / "feedback.sqlite"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(FeedbackError) as caught:
        open_feedback(str(path), most_rows=10)
    assert str(caught.value).startswith(f"{path}: {problem}")
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_place_that_cannot_be_used_is_refused_at_once(tmp_path: Path) -> None:
    for name, problem in (("gone/feedback.sqlite", "its folder is not there"), ("a\0b", "NUL|null|embedded")):
        with pytest.raises(FeedbackError, match=problem):
            open_feedback(str(tmp_path / name), most_rows=10)
    with pytest.raises(FeedbackError, match="cannot be used: File name too long"):
        open_feedback(str(tmp_path / ("n" * 300)), most_rows=10)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_refused_at_once(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(FeedbackError, match="its folder cannot be written"):
        open_feedback(str(tmp_path / "feedback.sqlite"), most_rows=10)


def test_a_damaged_file_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "feedback.sqlite"
    store = open_feedback(str(path), most_rows=100)
    for index in range(50):
        store.add(judged(f"text {index} " * 40))
    store.close()
    path.write_bytes(path.read_bytes()[:8192] + bytes(range(256)) * 100)
    with pytest.raises(FeedbackError) as caught:
        list(open_feedback(str(path), most_rows=100).every())
    assert str(caught.value) == f"{path}: is damaged; put back a copy, or move it away to begin anew"


def test_a_row_that_somebody_changed_by_hand_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "feedback.sqlite"
    store = open_feedback(str(path), most_rows=100)
    store.add(judged())
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE distilora_feedback SET probability = 7")
    connection.close()
    with pytest.raises(FeedbackError, match="row 1 is not as distilora writes it"):
        store.rows()
    store.close()


def test_a_file_that_another_program_holds_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distilora.serve.feedback.sqlite._BUSY_S", 0.05)
    path = tmp_path / "feedback.sqlite"
    store = open_feedback(str(path), most_rows=100)
    store.add(judged())
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(FeedbackError, match="is held by another program"):
        store.add(judged())
    holder.close()
    store.add(judged())
    store.close()


# Addresses and PostgreSQL.


@pytest.mark.parametrize(
    "address",
    [
        "mysql://keeper:geheim@127.0.0.1/feedback",
        "postgresql://keeper:ge@heim@127.0.0.1/feedback",
        "postgresql://keeper:geheim/x@127.0.0.1/feedback",
        "postgresql://keeper:geheim%zz@127.0.0.1/feedback",
        "postgresql://keeper:geheim@127.0.0.1:1/feedback",
        "postgresql://keeper@127.0.0.1:1/feedback?password=geheim",
        "postgresql://127.0.0.1:geheim/feedback",
    ],
)
def test_no_error_shows_the_password_of_an_address(address: str) -> None:
    with pytest.raises(FeedbackError) as caught:
        open_feedback(address, most_rows=10)
    assert "heim" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_postgres_without_psycopg_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match=r"psycopg is not installed: run pip install 'distilora\[postgres\]'"):
        open_feedback("postgresql://127.0.0.1/feedback", most_rows=10)


@needs_postgres
def test_a_foreign_table_in_postgres_is_refused() -> None:
    import psycopg

    address = empty_postgres()
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("CREATE TABLE distilora_feedback (id integer)")
    with pytest.raises(FeedbackError, match="is of another program or of another version"):
        open_feedback(address, most_rows=10)


@needs_postgres
def test_connections_that_the_server_ended_are_replaced() -> None:
    import psycopg

    address = empty_postgres()
    store = open_feedback(address, most_rows=100)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda index: store.add(judged(f"text {index}")), range(8)))
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    store.add(judged("after"))
    assert store.counts().total == 9
    store.close()


@needs_postgres
def test_a_session_that_has_it_off_still_waits_for_the_disk() -> None:
    store = PostgresFeedback(empty_postgres(options="%20-csynchronous_commit%3Doff"), most_rows=10)
    assert store._read("SHOW synchronous_commit", {}) == [("on",)]
    store.close()


@needs_restart
def test_rows_are_written_again_when_the_server_is_back() -> None:
    store = open_feedback(empty_postgres(), most_rows=10)
    first = store.add(judged("before"))
    subprocess.run(["/bin/sh", "-c", str(RESTART)], check=True, stdout=subprocess.DEVNULL)
    second = store.add(judged("after"))
    assert store.rows() == [second, first]
    store.close()
