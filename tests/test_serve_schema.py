"""The API keeps what its OpenAPI document promises, and nothing that is sent makes the server fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished
from starlette.testclient import TestClient

from distilora.serve.problems import PROBLEM_TYPE
from serving_cases import BUNDLES, serving

PATHS = ("/v1/predict", "/v1/compare", "/v1/explain", "/v1/feedback")
FUZZ = settings(
    max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
BOUNDARY = "a-boundary"
FORM = "application/x-www-form-urlencoded"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"

NASTY = (
    "\0",
    "\ud83d",
    "\udc80",
    "a\ud83d\0b",
    "\ufeffidiots",
    "\u202eidiots\u2066",
    "\U0010ffff\ufffe",
    "e" + "\u0301" * 500,
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</textarea></template>{{ 7 * 7 }}{% raw %}",
    "'; DROP TABLE feedback; --",
    '" OR ""="',
    '=HYPERLINK("http://evil.example")',
    "%s %d %(x)s {0} {x!r}",
    "\r\nSet-Cookie: a=b\r\n\r\n",
    "\x1b[31m\x7f\x85\u2028",
    "x" * 2**20,
    "you are all idiots " * 1000,
    "?! " * 6000,
    "\u4f60" * 19_999,
    "\U0001f602" * 10_000,
)
"""Texts on which servers have failed."""
texts = st.sampled_from(NASTY) | st.text(st.characters(exclude_categories=()), max_size=60)
"""Every Unicode plane, halves of surrogate pairs too."""
deep = st.sampled_from(("[" * 100_000, '{"a":' * 100_000, '{"text":' + "[" * 50_000 + "]" * 50_000 + "}"))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


TWINS = {name: BUNDLES[name] for name in ("odd", "even")}
"""Models that share labels and have a threshold: what else one of them may be asked is nothing a schema could tell."""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with serving(tmp_path_factory.mktemp("served"), bundles=TWINS) as client:
        yield client


# The document is kept


def _configured() -> SchemathesisConfig:
    return SchemathesisConfig.from_dict(
        {
            "seed": 1,
            "generation": {"max-examples": 30, "database": "none", "deterministic": True},
            # Whether a file holds comments is nothing that a schema could say.
            "operations": [
                {"include-path": "/v1/files", "checks": {"positive_data_acceptance": {"enabled": False}}},
            ],
        }
    )


def _faults(event: Any) -> Iterator[str]:
    if isinstance(event, FatalError | NonFatalError):
        yield repr(event)
    if isinstance(event, ScenarioFinished):
        for number, checks in event.recorder.checks.items():
            case = event.recorder.cases[number].value
            for check in checks:
                if check.failure_info is not None:
                    yield f"{case.method} {case.path} {check.name}: {check.failure_info.failure.message} {case.body!r}"


def test_schemathesis_finds_no_fault(tmp_path: Path) -> None:
    # It calls every server testserver, and takes long to think of long texts.
    limits = {"characters": 200, "texts": 8}
    with serving(tmp_path, bundles=TWINS, allowed_hosts=("testserver",), limits=limits) as client:
        schema = schemathesis.openapi.from_asgi("/openapi.json", client.app, config=_configured())
        events = list(from_schema(schema).execute())
    assert [fault for event in events for fault in _faults(event)] == []
    done = [event for event in events if isinstance(event, ScenarioFinished)]
    assert {event.phase.value for event in done} >= {"examples", "coverage", "fuzzing", "stateful"}
    assert sum(len(event.recorder.cases) for event in done) > 400


# Nothing makes it fail


def _calm(response: Any) -> None:
    """Check that the server answered, and that it has a form for its refusals."""
    assert response.status_code < 500, (response.status_code, response.text[:300])
    assert response.status_code < 400 or response.headers["content-type"] in {PROBLEM_TYPE, "text/html; charset=utf-8"}


def _bodies(text: str) -> Iterator[bytes]:
    """Yield JSON with this text everywhere where text may stand, once with escapes and once as it is."""
    for body in (
        {"texts": text},
        {"texts": ["good", text]},
        {"text": text},
        {"text": text, "label": "toxic"},
        {"text": "good", "label": "toxic", "note": text},
        {"text": "good", "label": text},
        {"text": "good", "label": "toxic", "model": text},
        {"texts": "good", "model": text},
        {"texts": "good", text: text},
    ):
        yield json.dumps(body).encode()
        yield json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("path", PATHS)
@given(text=texts)
@settings(FUZZ, max_examples=15)
def test_no_text_makes_the_api_fail(api: TestClient, path: str, text: str) -> None:
    for body in _bodies(text):
        _calm(api.post(path, content=body, headers={"content-type": "application/json"}))


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_no_text_that_servers_have_failed_on_makes_the_api_fail(api: TestClient, text: str) -> None:
    field = "texts"
    for path in PATHS:
        body = json.dumps({field: text, **({"label": "toxic"} if path == "/v1/feedback" else {})})
        _calm(api.post(path, content=body, headers={"content-type": "application/json"}))
        field = "text"


@pytest.mark.parametrize("path", PATHS)
@given(body=st.binary(max_size=200) | deep.map(str.encode) | values.map(lambda value: json.dumps(value).encode()))
@FUZZ
def test_no_body_makes_the_api_fail(api: TestClient, path: str, body: bytes) -> None:
    _calm(api.post(path, content=body, headers={"content-type": "application/json"}))


@given(
    text=texts,
    ask=st.sampled_from(("predict", "compare", "explain", "?")),
    accept=st.sampled_from(("*/*", "text/html")),
)
@FUZZ
def test_no_text_makes_the_page_fail(api: TestClient, text: str, ask: str, accept: str) -> None:
    written = quote(text.encode("utf-8", "surrogatepass"))
    for form in (
        f"text={written}&ask={ask}",
        f"text=good&model={written}&ask={ask}",
        f"text=good&threshold={written}&ask={ask}",
        f"{written}={written}",
    ):
        _calm(api.post("/", content=form.encode(), headers={"content-type": FORM, "accept": accept}))


@given(body=st.binary(max_size=200), path=st.sampled_from(("/", "/feedback", "/v1/files")))
@FUZZ
def test_no_form_makes_the_page_fail(api: TestClient, body: bytes, path: str) -> None:
    for media_type in (FORM, MULTIPART):
        _calm(api.post(path, content=body, headers={"content-type": media_type, "accept": "text/html"}))


@pytest.mark.parametrize("charset", ["unicode_escape", "utf-7", "utf-16", "rot13", "idna", "punycode", "nonsense"])
@pytest.mark.parametrize("path", ["/", "/feedback", "/v1/files"])
def test_no_charset_of_a_form_makes_the_page_fail(api: TestClient, path: str, charset: str) -> None:
    parts = {"text": b"\\ud83d +2D0-", "label": b"toxic", "pasted": b"text\n\\ud83d", "ask": b"predict"}
    body = b"".join(_part(name, content) for name, content in parts.items()) + f"--{BOUNDARY}--\r\n".encode()
    _calm(api.post(path, content=body, headers={"content-type": f"{MULTIPART}; charset={charset}"}))


def _part(name: str, content: bytes, *, filename: str | None = None) -> bytes:
    named = f'; filename="{filename}"' if filename is not None else ""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
    return head.encode("utf-8", "surrogatepass") + content + b"\r\n"


@given(text=texts)
@FUZZ
def test_no_judgement_makes_the_page_fail(api: TestClient, text: str) -> None:
    written = quote(text.encode("utf-8", "surrogatepass"))
    for form in (
        f"text={written}&label=toxic&model=odd",
        f"text=good&label={written}&note={written}&threshold={written}",
    ):
        _calm(api.post("/feedback", content=form.encode(), headers={"content-type": FORM, "accept": "text/html"}))
    _calm(api.get("/feedback", headers={"accept": "text/html"}))
    _calm(api.get(f"/feedback?model={written[:3000]}&before={written[:3000]}&saved=99999999999999999999"))


@pytest.mark.parametrize("number", ["0", "-1", "9" * 30, "1e3", "%00", "x"])
def test_no_number_of_a_judgement_makes_the_server_fail(api: TestClient, number: str) -> None:
    _calm(api.delete(f"/v1/feedback/{number}"))
    _calm(api.post(f"/feedback/{number}/delete", content=b"", headers={"content-type": FORM, "accept": "text/html"}))


def test_what_was_stored_meanwhile_can_be_exported(api: TestClient) -> None:
    for address in ("/v1/feedback.csv?all=true", "/v1/feedback.jsonl?all=true", "/v1/feedback?limit=200"):
        response = api.get(address)
        assert response.status_code == 200, response.text
        assert response.content.decode("utf-8")
