"""What people say of answers: taken, listed, and exported as data to train on."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from typer.testing import CliRunner

from distilora.cli.app import app as command_line
from distilora.data.cells import safe_cell
from distilora.data.sources import read_comments
from distilora.serve.feedback.exporting import COLUMNS, csv_lines, json_lines
from distilora.serve.feedback.store import open_feedback
from feedback_cases import judged
from serving_cases import serving

FORMULAS = (
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1",
    "＋1",
    "－1",
    "＠1",
    " =1",
    "\ufeff=1",
    "\x1f=1",
)
# A text as it may be stored: no NUL, no half of a surrogate pair.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(str.strip)


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[TestClient]:
    with serving(tmp_path) as client:
        yield client


def export(client: TestClient, folder: Path, name: str, *, query: str = "") -> Path:
    answer = client.get(f"/v1/{name}{query}")
    assert answer.status_code == 200
    path = folder / name
    path.write_bytes(answer.content)
    return path


# Files for training.


@given(st.lists(TEXTS, min_size=1, max_size=5))
@example(list(FORMULAS))
@example(["a\r\nb", 'say "no"', "a\rb", "a\u2028b", "\ufeffa", "'=1", "line\n\nline"])
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_exports_hold_every_text(tmp_path: Path, texts: list[str]) -> None:
    path = tmp_path / "feedback.sqlite"
    path.unlink(missing_ok=True)
    store = open_feedback(str(path), most_rows=1000)
    kept = [
        store.add(judged(text, ("civil", "toxic")[index % 2])).text for index, text in enumerate(["a", "b", *texts])
    ]
    (tmp_path / "out.jsonl").write_bytes("".join(json_lines(store.every())).encode())
    (tmp_path / "out.csv").write_bytes("".join(csv_lines(store.every())).encode())
    store.close()
    assert read_comments(str(tmp_path / "out.jsonl")).texts == tuple(kept)
    assert read_comments(str(tmp_path / "out.csv")).texts == tuple(map(safe_cell, kept))


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_of_the_csv_is_a_formula(formula: str, tmp_path: Path) -> None:
    store = open_feedback(str(tmp_path / "feedback.sqlite"), most_rows=10)
    store.add(judged(formula, label=formula, predicted=formula, model=formula, note=formula))
    exported = "".join(csv_lines(store.every()))
    store.close()
    (row,) = csv.DictReader(io.StringIO(exported, newline=""))
    for column in ("text", "label", "predicted", "model", "note"):
        assert row[column].startswith("'")


@pytest.mark.parametrize("text", ["", "fine", "a = b", "'=1", "#1", "1-1", "né"])
def test_other_cells_stay_as_they_are(text: str) -> None:
    assert safe_cell(text) == text


@pytest.mark.parametrize("name", ["feedback.csv", "feedback.jsonl"])
def test_an_export_is_data_with_the_right_labels(asking: TestClient, tmp_path: Path, name: str) -> None:
    said = {"you idiot": "toxic", "what a lovely day": "civil", "=1+1 you, \n nice": "civil", "stupid dog": "toxic"}
    for text, label in {"Lovely": "toxic", **said, "lovely": "civil"}.items():
        assert asking.post("/v1/feedback", json={"text": text, "label": label}).status_code == 201
    path = export(asking, tmp_path, name)
    comments = read_comments(str(path))
    exact = name.endswith("jsonl")
    assert dict(zip(comments.texts, (comments.label_names[code] for code in comments.labels), strict=True)) == {
        text if exact else safe_cell(text): label for text, label in {**said, "lovely": "civil"}.items()
    }
    told = CliRunner().invoke(command_line, ["data", str(path), "--json"])
    assert told.exit_code == 0, told.output
    report = json.loads(told.output)
    assert (report["rows"], report["usable_rows"], report["conflicts"]) == (5, 5, [])


def test_the_columns_of_the_csv_are_as_documented(asking: TestClient) -> None:
    asking.post("/v1/feedback", json={"text": "nice, very nice", "label": "civil", "model": "plain"})
    assert asking.post("/v1/feedback", json={"text": "nice, very nice", "label": "good", "model": "plain"}).is_success
    answer = asking.get("/v1/feedback.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="feedback.csv"'
    (row,) = csv.DictReader(io.StringIO(answer.text, newline=""))
    assert tuple(row) == COLUMNS
    assert (row["text"], row["label"], row["threshold"], row["note"]) == ("nice, very nice", "good", "", "")
    assert row["right"] == ("true" if row["predicted"] == "good" else "false")


# The API.


def test_feedback_is_stored_listed_and_taken_away(asking: TestClient) -> None:
    said = {"text": "you are all idiots", "label": "toxic", "model": "even", "note": "sure"}
    answer = asking.post("/v1/feedback", json=said)
    row = answer.json()
    assert answer.status_code == 201
    predicted = asking.post("/v1/predict", json={"texts": said["text"], "model": "even"}).json()
    prediction = predicted["predictions"][0]
    assert (row["predicted"], row["probability"], row["bundle"], row["threshold"]) == (
        prediction["label"],
        prediction["probabilities"][prediction["label"]],
        predicted["bundle"],
        predicted["threshold"],
    )
    assert asking.get("/v1/feedback").json() == {
        "rows": [row],
        "total": 1,
        "right": int(row["right"]),
        "next_before": None,
    }
    assert asking.delete(f"/v1/feedback/{row['id']}").status_code == 204
    gone = asking.delete(f"/v1/feedback/{row['id']}")
    assert (gone.status_code, gone.json()["type"]) == (404, "/api#not-found")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"text": "good", "label": "Schatz"}, 422),
        ({"text": "good\0", "label": "toxic"}, 422),
        ({"text": "good", "label": "toxic", "note": "\0"}, 422),
        ({"text": " ", "label": "toxic"}, 422),
        ({"text": "x" * 20_001, "label": "toxic"}, 422),
        ({"text": "good", "label": "toxic", "model": "nobody"}, 404),
        ({"text": "good", "label": "good", "model": "plain", "threshold": 0.5}, 422),
    ],
)
def test_a_judgement_that_cannot_be_kept_is_refused(asking: TestClient, body: dict[str, object], status: int) -> None:
    answer = asking.post("/v1/feedback", json=body)
    assert answer.status_code == status
    assert "Schatz" not in answer.text
    assert asking.get("/v1/feedback").json()["total"] == 0


def test_pages_of_the_list_lead_through_all_rows(asking: TestClient) -> None:
    for index in range(5):
        asking.post(
            "/v1/feedback", json={"text": f"nice {index}", "label": "civil", "model": ("odd", "even")[index % 2]}
        )
    found, before = [], None
    while True:
        page = asking.get("/v1/feedback", params={"limit": 2, **({"before": before} if before else {})}).json()
        found += [row["text"] for row in page["rows"]]
        if (before := page["next_before"]) is None:
            break
    assert found == [f"nice {index}" for index in (4, 3, 2, 1, 0)]
    assert len(asking.get("/v1/feedback?model=even").json()["rows"]) == 2
    assert asking.get("/v1/feedback.csv?model=even").text.count("\r\n") == 3


def test_all_asks_for_every_judgement_of_a_text(asking: TestClient) -> None:
    for label in ("civil", "toxic"):
        asking.post("/v1/feedback", json={"text": "nice", "label": label})
    labels = [json.loads(line)["label"] for line in asking.get("/v1/feedback.jsonl?all=true").text.splitlines()]
    assert labels == ["civil", "toxic"]
    assert [json.loads(line)["label"] for line in asking.get("/v1/feedback.jsonl").text.splitlines()] == ["toxic"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "before=0", "before=99999999999999999999", "before=-1"]
)
def test_a_page_that_cannot_be_is_refused(asking: TestClient, query: str) -> None:
    assert asking.get(f"/v1/feedback?{query}").status_code == 422


@pytest.mark.parametrize("number", ["0", "-1", "x", "99999999999999999999"])
def test_a_number_that_no_row_can_have_is_refused(asking: TestClient, number: str) -> None:
    assert asking.delete(f"/v1/feedback/{number}").status_code == 422


@pytest.mark.parametrize(
    ("method", "address"),
    [("GET", ""), ("POST", ""), ("DELETE", "/1"), ("GET", ".csv"), ("GET", ".jsonl")],
)
def test_without_a_database_feedback_is_unavailable(tmp_path: Path, method: str, address: str) -> None:
    with serving(tmp_path, feedback=False) as client:
        said = {"text": "nice", "label": "civil"} if method == "POST" else None
        answer = client.request(method, f"/v1/feedback{address}", json=said)
    assert (answer.status_code, answer.json()["type"]) == (503, "/api#unavailable")


@pytest.mark.parametrize("address", ["", ".csv", ".jsonl"])
def test_a_database_that_fails_is_a_problem_that_shows_no_path(
    asking: TestClient, tmp_path: Path, address: str
) -> None:
    asking.post("/v1/feedback", json={"text": "nice", "label": "civil"})
    shutil.copy(tmp_path / "feedback.sqlite", tmp_path / "copy")
    (tmp_path / "copy").write_bytes(b"no database" * 100)
    (tmp_path / "copy").replace(tmp_path / "feedback.sqlite")
    answer = asking.get(f"/v1/feedback{address}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert str(tmp_path) not in answer.text


def test_a_full_database_is_a_problem(tmp_path: Path) -> None:
    with serving(tmp_path, limits={"feedback_rows": 1}) as client:
        said = {"text": "nice", "label": "civil"}
        assert client.post("/v1/feedback", json=said).status_code == 201
        answer = client.post("/v1/feedback", json=said)
    assert (answer.status_code, answer.json()["type"]) == (503, "/api#unavailable")


def test_an_export_may_be_longer_than_a_chunk(asking: TestClient, tmp_path: Path) -> None:
    asking.post("/v1/feedback", json={"text": "nice", "label": "civil"})
    with sqlite3.connect(tmp_path / "feedback.sqlite") as connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200) INSERT INTO "
            "distilora_feedback (created, label, predicted, probability, model, bundle, text_key, text) SELECT "
            "created, label, predicted, probability, model, bundle, CAST(i AS BLOB), 'long ' || hex(zeroblob(200)) || i"
            " FROM n, distilora_feedback WHERE id = 1"
        )
    connection.close()
    lines = asking.get("/v1/feedback.jsonl").content.splitlines()
    assert [json.loads(line)["id"] for line in lines] == list(range(1, 1202))
