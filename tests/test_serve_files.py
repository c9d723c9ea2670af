"""Files of comments: every row answered in order, nothing kept, nothing that breaks the server."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import logging
import random
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from distilora.bundles.predictions import Predictions
from distilora.serve.files.answering import BrokenOffError, answer_file
from distilora.serve.files.spooling import OpenedFile, Part
from distilora.serve.files.writing import Csv, JsonLines, Start, Writer
from serving_cases import serving

WORDS = ("you", "are", "not", "very", "nice", "stupid", "people", "thank", "dog", "hate")
DRAW = random.Random(0)  # noqa: S311
MANY = [" ".join(DRAW.choices(WORDS, k=DRAW.randint(1, 20))) for _ in range(150)]
PAGE = {"accept": "text/html"}
LIMITS = {"file_bytes": 20_000, "file_rows": 200, "characters": 300, "files": 2}


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which the server keeps files for a moment."""
    folder, before = tmp_path_factory.mktemp("temporary"), tempfile.tempdir
    tempfile.tempdir = str(folder)
    yield folder
    tempfile.tempdir = before


@pytest.fixture(scope="module")
def client(temporary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with serving(tmp_path_factory.mktemp("served"), limits=LIMITS, feedback=False) as client:
        yield client


@pytest.fixture(autouse=True)
def _nothing_is_left(temporary: Path, client: TestClient) -> Iterator[None]:
    yield
    assert not list(temporary.iterdir())
    assert client.app.state.served.file_slots.free == LIMITS["files"]


def send(
    client: TestClient, content: bytes, *, name: str = "comments.csv", at: str = "/v1/files", **fields: str
) -> Response:
    return client.post(at, files={"file": (name, content)}, data=fields, headers={"accept": "*/*"})


def csv_of(rows: list[list[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def lines_of(response: Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    # By bytes: in a text other characters than the end of a line count as one, and comments may have them.
    return [json.loads(line) for line in response.content.splitlines()]


def answers_of(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [answer for line in lines if line["kind"] == "answers" for answer in line["answers"]]


def texts_of(response: Response) -> list[str]:
    return [answer["text"] for answer in answers_of(lines_of(response))]


def table_of(response: Response) -> list[dict[str, str]]:
    assert response.status_code == 200, response.text
    return list(csv.DictReader(io.StringIO(response.text, newline=""), strict=True))


@pytest.mark.parametrize("model", ["odd", "even", "plain"])
def test_every_row_gets_what_the_bundle_says_of_it_in_order(client: TestClient, model: str) -> None:
    bundle = client.app.state.served.catalog.models[model].bundle

    lines = lines_of(send(client, csv_of([["text"], *([text] for text in MANY)]), model=model))

    answers = answers_of(lines)
    assert [answer["row"] for answer in answers] == list(range(1, len(MANY) + 1))
    assert [answer["text"] for answer in answers] == MANY
    for answer, expected in zip(answers, bundle.predict(MANY), strict=True):
        assert answer["label"] == expected.label
        assert answer["probabilities"] == pytest.approx(list(expected.probabilities.values()), abs=2e-6)
        assert answer["positive_probability"] == (
            None if model == "plain" else pytest.approx(expected.positive_probability, abs=2e-6)
        )
        assert answer["cut"] == expected.cut


def test_the_first_line_says_what_is_answered_how_and_the_last_what_became_of_it(client: TestClient) -> None:
    content = csv_of([["id", "comment", "label"], *([str(row), text, "x"] for row, text in enumerate(MANY))])

    start, *between, end = lines_of(send(client, content, model="even"))

    bundle = client.app.state.served.catalog.models["even"].bundle
    assert start == {
        "kind": "start",
        "rows": 150,
        "columns": ["id", "comment", "label"],
        "text_column": "comment",
        "model": "even",
        "bundle": bundle.id,
        "labels": ["civil", "toxic"],
        "positive": ["toxic"],
        "threshold": 0.35,
    }
    assert [line["done"] for line in between] == [64, 128, 150]
    assert end.pop("seconds") >= 0
    assert end == {"kind": "end", "rows": 150, "answered": 150, "rejected": 0}


def test_a_threshold_of_ones_own_decides(client: TestClient) -> None:
    content = csv_of([["text"], *([text] for text in MANY)])

    start, *_ = strict = lines_of(send(client, content, threshold="1"))

    assert start["threshold"] == 1
    assert {answer["label"] for answer in answers_of(strict)} == {"civil"}


def test_rows_that_cannot_be_read_are_told_with_their_number_and_place(client: TestClient) -> None:
    content = b'id,text\n1,"two\nlines"\n2,\n\n3,caf\xe9\n4,a,b\n5,' + b"x" * 301 + b"\n6,fine\n"

    lines = lines_of(send(client, content))

    assert texts_of(send(client, content)) == ["two\nlines", "fine"]
    rejects = [line for line in lines if line["kind"] == "reject"]
    assert [(reject["row"], reject["place"]) for reject in rejects] == [
        (2, "line 4"),
        (3, "line 6"),
        (4, "line 7"),
        (5, ""),
    ]
    assert [reject["problem"].split(";")[0] for reject in rejects] == [
        "text is empty",
        "byte 0xe9 at offset 31 is not UTF-8",
        "the header has 2 fields, this row 3",
        "text has 301 characters",
    ]
    assert lines[-1] | {"seconds": 0} == {"kind": "end", "rows": 6, "answered": 2, "rejected": 4, "seconds": 0}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b'\xef\xbb\xbftext,id\r\n"he said ""no"", twice",1\r\n'),
        ("a.CSV", b'id,text\n1,"he said ""no"", twice"\n'),
        ("a.tsv", b'id\ttext\n1\t"he said ""no"", twice"\n'),
        ("a.jsonl", b'{"text": "he said \\"no\\", twice", "likes": 3}\n'),
        ("a.ndjson", b'\n{"text": "he said \\"no\\", twice"}\n'),
        ("a.txt", b'\xef\xbb\xbf\n  he said "no", twice \r\n \r\n'),
        ("name without an end", b'text\n"he said ""no"", twice"\n'),
    ],
)
def test_each_form_is_read_by_the_end_of_its_name(client: TestClient, name: str, content: bytes) -> None:
    assert texts_of(send(client, content, name=name)) == ['he said "no", twice']


def test_pasted_comments_are_read_as_columns_or_line_by_line(client: TestClient) -> None:
    def pasted(comments: str, **fields: str) -> Response:
        empty = {"file": ("", b"", "application/octet-stream"), "pasted": (None, comments)}
        return client.post("/v1/files", files=empty, data=fields)

    assert texts_of(pasted("id,text\r\n1,hello you\r\n", threshold="", text="")) == ["hello you"]
    assert texts_of(pasted("hello, you\r\n\r\nnot nice\r\n", lines="true")) == ["hello, you", "not nice"]


def test_a_column_that_cannot_be_guessed_is_asked_for_with_the_names_of_all(client: TestClient) -> None:
    content = b"first,second\nhello,you\n"

    unclear, wrong, right = (send(client, content, **fields) for fields in ({}, {"text": "third"}, {"text": "second"}))

    for refused in (unclear, wrong):
        assert refused.status_code == 422
        assert [error.get("column") for error in refused.json()["errors"]] == [None, "first", "second"]
        assert {error["where"] for error in refused.json()["errors"]} == {"text"}
    assert "name it in this field" in unclear.json()["detail"]
    assert texts_of(right) == ["you"]


@pytest.mark.parametrize(
    ("name", "content", "status", "said"),
    [
        ("a.csv", b"", 422, "empty"),
        ("a.csv", "text\nsecret words\n".encode("utf-16"), 422, "save it as UTF-8"),
        ("a.txt", "secret words\n".encode("utf-16"), 422, "save it as UTF-8"),
        ("a.csv", b"secret words;text\n1;2\n", 422, "separated by commas"),
        ("a.csv", b'"secret words', 422, "never closed"),
        ("a.jsonl", b'"secret words"\n', 422, "no JSON object"),
        ("a.csv", b"text\n" + b"secret\n" * 201, 422, "more than 200 rows"),
        ("a.csv", b"text\n" + b"secret words\n" * 1540, 413, "20,000"),
        ("a.parquet", b"PAR1", 415, "distilora score takes .parquet"),
        ("a.secret words", b"text\nhello\n", 415, ".csv"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_without_a_word_of_it(
    client: TestClient, name: str, content: bytes, status: int, said: str
) -> None:
    response = send(client, content, name=name)

    assert response.status_code == status
    assert said in response.json()["detail"]
    assert "secret" not in response.text
    assert tempfile.gettempdir() not in response.text


@pytest.mark.parametrize(
    ("fields", "status", "where"),
    [
        ({"model": "odder"}, 404, None),
        ({"model": "plain", "threshold": "0.5"}, 422, "threshold"),
        ({"threshold": "1.5"}, 422, "threshold"),
        ({"long_texts": "middle"}, 422, "long_texts"),
        ({"format": "xlsx"}, 422, "format"),
        ({"pasted": "text\nhello"}, 422, "pasted"),
        ({"colour": "red"}, 422, "body"),
    ],
)
def test_fields_that_mean_nothing_are_refused(
    client: TestClient, fields: dict[str, str], status: int, where: str | None
) -> None:
    response = send(client, b"text\nhello\n", **fields)

    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert where is None or response.json()["errors"][0]["where"] == where


def test_a_form_without_comments_and_a_body_that_is_no_form_are_refused(client: TestClient) -> None:
    assert client.post("/v1/files", files={"model": (None, "odd")}).json()["errors"][0]["where"] == "file"
    assert client.post("/v1/files", json={"file": "text"}).status_code == 415
    twice = client.post("/v1/files", files=[("model", (None, "odd")), ("model", (None, "even"))])
    assert twice.status_code == 422


def test_a_csv_has_every_row_of_the_file_and_no_formula(client: TestClient) -> None:
    texts = ["=HYPERLINK(A1)", "you are nice", "@SUM(A1)", 'a "word", and more', "\t+1"]
    content = csv_of([["id", "text"], *([str(row), text] for row, text in enumerate(texts)), ["5", ""]])

    response = send(client, content, format="csv")

    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"] == 'attachment; filename="answers.csv"'
    table = table_of(response)
    assert list(table[0]) == (
        ["row", "text", "label", "probability_civil", "probability_toxic", "positive_probability", "cut", "problem"]
    )
    assert [row["text"] for row in table] == ["'=HYPERLINK(A1)", texts[1], "'@SUM(A1)", texts[3], "'\t+1", ""]
    assert [row["row"] for row in table] == list("123456")
    assert table[5]["problem"] == "text is empty"
    answers = answers_of(lines_of(send(client, content)))
    assert [float(row["probability_toxic"]) for row in table[:5]] == [answer["probabilities"][1] for answer in answers]
    assert [row["label"] for row in table[:5]] == [answer["label"] for answer in answers]


def test_the_page_has_the_form_and_its_form_works_without_a_script(client: TestClient) -> None:
    page = client.get("/files", headers=PAGE)
    assert page.status_code == 200
    assert 'action="/files" enctype="multipart/form-data"' in page.text

    answered = send(client, b"text\nhello\n", at="/files", format="csv", lines="false")
    assert [row["text"] for row in table_of(answered)] == ["hello"]

    file = {"file": ("a.csv", b"<b>first</b>,second\nhello,you\n")}
    refused = client.post("/files", files=file, data={"format": "csv"}, headers=PAGE)
    assert refused.status_code == 422
    assert "<option>&lt;b&gt;first&lt;/b&gt;</option>" in refused.text


@pytest.mark.parametrize("writer", [JsonLines(), Csv()])
def test_a_mistake_on_the_way_is_told_and_logged_without_its_words(
    writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(texts: list[str]) -> Predictions:
        raise ValueError(f"no {texts}")

    async def answered() -> bytes:
        file = OpenedFile(1, ("text",), "text", iter([Part(1, [1], ["secret words"], [])]))
        start = Start(1, ("text",), "text", "odd", "6f", ("civil", "toxic"), ("toxic",), 0.5)
        pieces = []
        with suppress(BrokenOffError):
            async for piece in answer_file(file, start=start, predict=fail, writer=writer):
                pieces.append(piece)  # noqa: PERF401 - what came before the error counts
        return b"".join(pieces)

    with caplog.at_level(logging.ERROR):
        answer = asyncio.run(answered()).decode()

    assert "the rest of the file could not be answered" in answer
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text + answer


# Below, the application is called as a server calls it, for clients that leave and clients that do not read.

Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]


def request_of(client: TestClient, content: bytes, **fields: str) -> tuple[dict[str, Any], bytes]:
    request = client.build_request("POST", "/v1/files", files={"file": ("a.csv", content)}, data=fields)
    body = request.read()
    headers = [(key.lower().encode(), value.encode()) for key, value in request.headers.items()]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/files",
        "raw_path": b"/v1/files",
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
        "state": {},
    }
    return scope, body


async def call(client: TestClient, content: bytes, *, send: Send, leave: asyncio.Event, **fields: str) -> None:
    scope, body = request_of(client, content, **fields)
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop(0)
        await leave.wait()
        return {"type": "http.disconnect"}

    await client.app(scope, receive, send)


FULL = csv_of([["text"], *([text] for text in MANY)])


def test_a_client_that_leaves_ends_the_work(client: TestClient) -> None:
    parts: list[bytes] = []

    async def leave_after_two_parts() -> None:
        leave = asyncio.Event()

        async def send(message: Message) -> None:
            if message["type"] == "http.response.body":
                parts.append(message["body"])
                if len(parts) == 2:
                    leave.set()
                    await asyncio.sleep(30)

        await asyncio.wait_for(call(client, FULL, send=send, leave=leave), 10)

    asyncio.run(leave_after_two_parts())

    assert [json.loads(part)["kind"] for part in parts] == ["start", "answers"]


def test_a_client_that_takes_nothing_loses_its_place(tmp_path: Path, temporary: Path) -> None:
    async def take_nothing(client: TestClient) -> None:
        async def send(message: Message) -> None:
            if message["type"] == "http.response.body":
                await asyncio.sleep(30)

        await asyncio.wait_for(call(client, FULL, send=send, leave=asyncio.Event()), 10)

    with serving(tmp_path, feedback=False, limits={"body_s": 0.2}) as client:
        asyncio.run(take_nothing(client))
        assert client.app.state.served.file_slots.free == 2


def test_one_file_too_many_at_once_is_put_off(client: TestClient) -> None:
    statuses: list[tuple[int, dict[bytes, bytes]]] = []

    async def two_and_one_more() -> None:
        go_on = asyncio.Event()

        async def slow(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append((message["status"], {}))
                await go_on.wait()

        async def quick(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append((message["status"], dict(message["headers"])))

        async def of(send: Send) -> None:
            await call(client, FULL, send=send, leave=asyncio.Event())

        two = [asyncio.create_task(of(slow)) for _ in range(2)]
        while len(statuses) < 2:
            await asyncio.sleep(0.01)
        await of(quick)
        go_on.set()
        await asyncio.gather(*two)
        await of(quick)

    asyncio.run(two_and_one_more())

    assert [status for status, _ in statuses] == [200, 200, 429, 200]
    assert statuses[2][1][b"retry-after"].isdigit()


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_an_answer_that_breaks_off_does_not_look_whole(tmp_path: Path, temporary: Path, form: str) -> None:
    messages: list[Message] = []

    async def stop_on_the_way(client: TestClient) -> None:
        async def send(message: Message) -> None:
            messages.append(message)
            if len(messages) == 2:
                await client.app.state.served.batcher.close()

        await call(client, FULL, send=send, leave=asyncio.Event(), format=form)

    with serving(tmp_path, feedback=False) as client:
        asyncio.run(stop_on_the_way(client))

    last = [message["body"] for message in messages if message.get("body")][-1]
    assert messages[-1]["more_body"] is (form == "csv")  # then the server cuts the connection
    if form == "csv":
        assert b"the rest is missing: the server is about to stop" in last
    else:
        assert json.loads(last)["kind"] == "problem"
        assert json.loads(last)["status"] == 503


def test_the_file_has_no_name_on_disk_while_it_is_answered(client: TestClient, temporary: Path) -> None:
    async def look_meanwhile() -> None:
        async def send(message: Message) -> None:
            assert not list(temporary.iterdir())

        await call(client, FULL, send=send, leave=asyncio.Event())

    asyncio.run(look_meanwhile())


CELL = st.text(st.characters(exclude_categories=()), max_size=12).map(
    lambda text: text.encode("utf-8", "surrogatepass")
)
PIECE = st.one_of(
    st.binary(max_size=30),
    CELL,
    st.sampled_from(
        [b"text", b"text,id\n", b"\n", b"\r", b",", b"\t", b'"', b'""', b"\0", b"\xef\xbb\xbf", b'{"text": ']
    ),
    st.sampled_from(
        [b'{"text": "hello"}\n', b"{}\n", b"[" * 2000, b"1" * 5000, b'{"text": NaN}\n', b'{"\\ud83d": 1}\n']
    ),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(PIECE, max_size=12),
    name=st.sampled_from(["a.csv", "a.tsv", "a.jsonl", "a.txt", "a", "a.parquet"]),
    fields=st.fixed_dictionaries(
        {},
        optional={
            "text": st.sampled_from(["text", "id", "\0", "🙂"]),
            "lines": st.sampled_from(["true", "false", "maybe"]),
            "format": st.sampled_from(["csv", "ndjson"]),
        },
    ),
)
@example(pieces=[b"text\n", "\x01\x85\u2028".encode()], name="a.csv", fields={})
def test_no_bytes_make_the_server_fail(
    client: TestClient, pieces: list[bytes], name: str, fields: dict[str, str]
) -> None:
    response = send(client, b"".join(pieces), name=name, **fields)

    assert response.status_code in {200, 413, 415, 422}
    if response.status_code == 200 and fields.get("format") != "csv":
        lines = lines_of(response)
        end = lines[-1]
        assert end["kind"] == "end"
        assert end["rows"] == lines[0]["rows"] == end["answered"] + end["rejected"]
        assert len(answers_of(lines)) == end["answered"]
