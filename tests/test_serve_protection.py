"""Each protection stops what it is there for, and lets through everything else."""

from __future__ import annotations

import asyncio
import json
import logging
import time

import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient

from distilora.serve.catalog import Catalog
from distilora.serve.failures import answer_failures
from distilora.serve.metrics import Metrics
from distilora.serve.protection.body import FRAME_BYTES
from distilora.serve.protection.headers import CONTENT_POLICY
from distilora.serve.protection.hosts import host_name
from distilora.serve.protection.keys import COOKIE, COOKIE_S, Gate, gate_for
from distilora.serve.protection.stack import protect
from distilora.serve.routes import sign_in
from distilora.serve.settings import ServeSettings
from distilora.serve.state import Served

ADDRESS = "http://127.0.0.1:8000"
KEY = "a key of sixteen+"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing is bound
PAGE = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PRIVATE = "nobody may see this comment"


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")
    texts: str | list[str] = ""
    share: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)


ROUTES = APIRouter()


@ROUTES.get("/healthz")
async def health():
    return {"status": "ok"}


@ROUTES.get("/")
async def page():
    return HTMLResponse("<p>hello</p>")


@ROUTES.get("/report")
async def report():
    return HTMLResponse("<p>hello</p>", headers={"Content-Security-Policy": "sandbox; frame-ancestors 'self'"})


@ROUTES.post("/v1/ask/{number}")
async def count(asked: Asked, number: int = 0):
    return {"texts": len(asked.texts)}


@ROUTES.get("/v1/ask/{number}")
async def asked_before(number: int):
    return {"number": number}


@ROUTES.post("/v1/files")
@ROUTES.post("/read")
async def read(request: Request):
    return {"bytes": len(await request.body())}


@ROUTES.get("/mistake")
async def mistake():
    raise ValueError(PRIVATE)


@ROUTES.get("/half")
async def half():
    async def parts():
        yield b"a"
        raise ValueError(PRIVATE)

    return StreamingResponse(parts())


@ROUTES.post("/v1/text")
async def text(asked: Asked):
    return Response(str(asked.texts).encode())


def mini(folder, **settings):
    """Return a small application behind everything that protects the real one."""
    served = Served(
        settings=ServeSettings(**settings), catalog=Catalog({}), batcher=None, metrics=Metrics(), feedback=None
    )
    app = FastAPI(docs_url=None, redoc_url=None)
    app.state.served = served
    app.include_router(sign_in.router)
    (folder / "style.css").write_text("p { color: red }")
    app.mount("/static", StaticFiles(directory=folder))

    app.include_router(ROUTES)
    answer_failures(app)
    protect(app, served)
    return app


@pytest.fixture
def make(tmp_path):
    def client(*, base_url=ADDRESS, **settings):
        return TestClient(
            mini(tmp_path, **settings), base_url=base_url, raise_server_exceptions=False, follow_redirects=False
        )

    return client


@pytest.fixture
def ask(make):
    return make()


def kind_of(answer):
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status_code
    return answer.json()["type"].partition("#")[2]


# Headers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/healthz"),
        ("GET", "/static/style.css"),
        ("GET", "/static/none.css"),
        ("GET", "/nowhere"),
        ("PUT", "/"),
        ("GET", "/mistake"),
        ("POST", "/v1/ask/1"),
    ],
)
def test_every_answer_carries_the_headers_that_protect(ask, method, path):
    answer = ask.request(method, path)
    assert answer.headers["content-security-policy"] == CONTENT_POLICY.decode()
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert (
        answer.headers["cross-origin-opener-policy"] == answer.headers["cross-origin-resource-policy"] == "same-origin"
    )
    assert answer.headers["referrer-policy"] == "same-origin"
    assert "camera=()" in answer.headers["permissions-policy"]
    assert (answer.headers["cache-control"] == "no-store") != path.startswith("/static")
    assert "server" not in answer.headers


def test_a_refusal_before_the_application_carries_them_too(make):
    answer = make(api_key=KEY).get("/v1/ask/1", headers={"Host": "evil.example"})
    assert kind_of(answer) == "unknown-host"
    assert answer.headers["content-security-policy"] == CONTENT_POLICY.decode()


def test_a_page_with_a_policy_of_its_own_keeps_it_and_may_be_framed_by_us(ask):
    answer = ask.get("/report")
    assert answer.headers["content-security-policy"] == "sandbox; frame-ancestors 'self'"
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"


def test_only_a_static_file_whose_address_holds_its_hash_is_kept_for_ever(ask):
    assert "immutable" in ask.get("/static/style.css?v=abc").headers["cache-control"]
    assert ask.get("/static/style.css").headers["cache-control"] == "no-cache"
    assert ask.get("/?v=abc").headers["cache-control"] == "no-store"


# Hosts


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8000", "localhost:1234", "LOCALHOST", "localhost.", "[::1]:8000", "mod.example.org:443"],
)
def test_the_server_answers_to_its_names_on_any_port(make, host):
    assert make(allowed_hosts=("mod.example.org",)).get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "evil.example:8000",
        "[::2]",
        "[::1",
        "localhost:port",
        "localhost:²",
        "",
        "localhost, evil.example",
        "10.0.0.7",
    ],
)
def test_another_name_that_was_pointed_at_the_server_is_refused(ask, host):
    assert kind_of(ask.get("/", headers={"Host": host.encode("latin-1")})) == "unknown-host"


def test_a_request_that_names_two_hosts_is_refused(ask):
    for hosts in (("localhost", "evil.example"), ("localhost", "localhost")):
        answer = ask.get("/", headers=[("Host", host) for host in hosts])
        assert kind_of(answer) == "unknown-host"


def test_a_name_allowed_with_a_port_is_allowed_on_that_port_alone(make):
    ask = make(allowed_hosts=("mod.example.org:8443",))
    statuses = [ask.get("/", headers={"Host": f"mod.example.org:{port}"}).status_code for port in (8443, 8000)]
    assert statuses == [200, 421]


def test_on_all_addresses_the_one_that_a_request_came_to_is_a_name(make):
    assert make(host=EVERYWHERE, base_url="http://10.0.0.7:8000").get("/").status_code == 200


def test_what_looks_after_the_server_need_not_know_its_name(ask):
    assert ask.get("/healthz", headers={"Host": "10.244.3.9:8000"}).status_code == 200


@given(st.text(max_size=40))
def test_any_host_at_all_has_a_name_or_none(text):
    assert host_name(text) == "" or not set(host_name(text)) & set("@/ []")


# Origin


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": ADDRESS},
        {"Origin": ADDRESS, "Sec-Fetch-Site": "same-origin"},
        {"Origin": "http://[::1]:8000", "Host": "[::1]:8000"},
        {"Origin": "http://localhost", "Host": "localhost"},
        {"Origin": "http://LOCALHOST:80", "Host": "localhost"},
        {"Origin": "http://localhost.:8000", "Host": "localhost.:8000"},
        {"Origin": "https://mod.example.org"},
        {"Origin": "https://mod.example.org", "Host": "mod.example.org"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_own_pages_and_programs_may_change_something(make, headers):
    answer = make(allowed_hosts=("mod.example.org",)).post("/read", content=b"abc", headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"bytes": 3})


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1.evil.example:8000"},
        {"Origin": "http://127.0.0.1:3000"},
        {"Origin": "http://localhost:8000"},
        {"Origin": "https://127.0.0.1"},
        {"Origin": "file://"},
        {"Origin": "http://["},
        {"Origin": "http://127.0.0.1:99999"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": ADDRESS, "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_another_sites_page_may_change_nothing(ask, headers):
    assert kind_of(ask.post("/read", content=b"abc", headers=headers)) == "foreign-origin"
    assert ask.get("/", headers=headers).status_code == 200


# Key and cookie


@pytest.mark.parametrize(
    "headers", [{"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}, {"authorization": f"bearer  {KEY}"}]
)
def test_the_key_opens_in_either_header(make, headers):
    assert make(api_key=KEY).get("/v1/ask/1", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": KEY[:-1]},
        {"X-API-Key": f"{KEY}é".encode("latin-1")},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer"},
        {"Cookie": f"{COOKIE}={KEY}"},
    ],
)
def test_without_the_right_key_nothing_is_answered(make, headers):
    answer = make(api_key=KEY).get("/v1/ask/1", headers=headers)
    assert kind_of(answer) == "no-key"
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/healthz", "/static/style.css", "/sign-in"])
def test_what_is_open_needs_no_key(make, path):
    assert make(api_key=KEY).get(path).status_code == 200


@pytest.mark.parametrize(
    "path", ["/static/../v1/ask/1", "/statics", "/sign-in/x", "/healthz/x", "/openapi.json", "/mistake"]
)
def test_what_only_looks_open_needs_one(make, path):
    assert make(api_key=KEY).get(path).status_code == 401


def test_a_person_without_a_key_is_sent_to_sign_in(make):
    answer = make(api_key=KEY).get("/files/a b", headers=PAGE)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=/files/a%20b")


def test_signing_in_sets_a_cookie_that_opens_and_does_not_hold_the_key(make):
    ask = make(api_key=KEY)
    answer = ask.post("/sign-in", data={"key": KEY, "next": "/v1/ask/1"}, headers={"Origin": ADDRESS})
    assert (answer.status_code, answer.headers["location"]) == (303, "/v1/ask/1")
    cookie = answer.headers["set-cookie"]
    assert KEY not in cookie
    assert "httponly" in cookie.lower()
    assert "samesite=strict" in cookie.lower()
    assert "path=/" in cookie.lower()
    assert "secure" not in cookie.lower()
    assert ask.get("/v1/ask/1").status_code == 200
    ask.post("/sign-out")
    assert ask.get("/v1/ask/1").status_code == 401


def test_a_cookie_of_a_browser_that_came_by_https_is_never_sent_without(make):
    ask = make(api_key=KEY, allowed_hosts=("mod.example.org",))
    answer = ask.post("/sign-in", data={"key": KEY}, headers={"Origin": "https://mod.example.org"})
    assert "secure" in answer.headers["set-cookie"].lower()


def test_cookies_of_other_servers_on_the_same_machine_do_no_harm(make):
    cookies = f'other={{"a": 1}}; bad[]=x; {COOKIE}={gate_for(KEY).cookie()}; =; last'
    assert make(api_key=KEY).get("/v1/ask/1", headers={"Cookie": cookies}).status_code == 200


def test_a_forged_or_ended_cookie_opens_nothing(make):
    gate, now = gate_for(KEY), time.time()
    good = gate.cookie()
    assert gate.knows(good)
    assert not gate.knows(good, now_s=now + COOKIE_S + 2)
    ends, _, signature = good.partition(".")
    longer = f"{int(ends) + 1}.{signature}"
    for forged in (
        longer,
        f"{ends}.",
        ends,
        "",
        ".",
        f"{ends}.{signature[:-1]}",
        Gate("another key, as long").cookie(),
    ):
        assert not gate.knows(forged), forged
        assert make(api_key=KEY).get("/v1/ask/1", headers={"Cookie": f"{COOKIE}={forged}"}).status_code == 401


@given(st.text(max_size=100))
def test_no_text_at_all_is_a_cookie_or_a_ticket(text):
    assert not gate_for(KEY).knows(text)
    assert not gate_for(KEY).admits(text)


def test_a_ticket_opens_reports_and_nothing_else(make):
    ask, gate = make(api_key=KEY), gate_for(KEY)
    ticket = gate.ticket()
    assert ask.get(f"/report/document/{ticket}/trial/report.html").status_code == 404  # let in; nothing is there
    for path in (f"/report/{ticket}", f"/report/document/x/{ticket}/report.html", f"/v1/ask/{ticket}", f"/{ticket}"):
        assert ask.get(path).status_code == 401, path
    assert ask.post(f"/report/document/{ticket}/trial/report.html").status_code == 401
    assert ask.get("/v1/ask/1", headers={"Cookie": f"{COOKIE}={ticket}"}).status_code == 401


def test_a_forged_or_ended_ticket_opens_nothing(make):
    ask, gate, now = make(api_key=KEY), gate_for(KEY), time.time()
    ended = gate.ticket(now_s=now - COOKIE_S - 2)
    for forged in (ended, gate.cookie(), Gate("another key, as long").ticket(), "open", "", "reports 1.x"):
        assert not gate.admits(forged), forged
        assert ask.get(f"/report/document/{forged}/trial/report.html").status_code == 401, forged


def test_a_wrong_key_is_said_to_be_wrong_and_soon_must_wait(make):
    ask = make(api_key=KEY)
    answers = [ask.post("/sign-in", data={"key": "wrong"}, headers=PAGE) for _ in range(12)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429] * 2
    assert "set-cookie" not in answers[0].headers
    assert answers[-1].headers["retry-after"] == "6"
    assert ask.post("/sign-in", data={"key": KEY}).status_code == 303  # nobody can lock the others out


@pytest.mark.parametrize(
    "wanted", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:x", "", "/\n"]
)
def test_signing_in_leads_to_no_other_site(make, wanted):
    answer = make(api_key=KEY).post("/sign-in", data={"key": KEY, "next": wanted})
    assert answer.headers["location"] == "/"


def test_another_site_cannot_sign_anybody_in(make):
    answer = make(api_key=KEY).post("/sign-in", data={"key": KEY}, headers={"Origin": "http://evil.example"})
    assert kind_of(answer) == "foreign-origin"


# Bodies


def scope_of(path, *, method="POST", headers=()):
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1"), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }


def call(app, scope, *parts, between_s=0.0):
    """Return status, headers and body of an answer to a body that comes in parts, and how many parts were taken."""
    left = list(parts)
    sent = []

    async def receive():
        await asyncio.sleep(between_s)
        if not left:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), json.loads(body), len(parts) - len(left)


CHUNKED = (b"transfer-encoding", b"chunked")


def test_a_body_that_says_it_is_too_large_is_refused_unread(tmp_path):
    app = mini(tmp_path, limits={"body_bytes": 1024})
    status, _, problem, taken = call(app, scope_of("/read", headers=[(b"content-length", b"1025")]), b"a" * 1025)
    assert (status, taken) == (413, 0)
    assert "1,024 bytes" in problem["detail"]


def test_a_body_that_does_not_say_its_size_is_counted(tmp_path):
    app = mini(tmp_path, limits={"body_bytes": 1024})
    status, _, _, taken = call(app, scope_of("/read", headers=[CHUNKED]), *[b"a" * 500] * 10)
    assert (status, taken) == (413, 3)
    assert call(app, scope_of("/read", headers=[CHUNKED]), b"a" * 1000, b"a" * 24)[2] == {"bytes": 1024}


def test_json_that_turns_out_too_large_is_called_so(tmp_path):
    app = mini(tmp_path, limits={"body_bytes": 1024})
    headers = [CHUNKED, (b"content-type", b"application/json")]
    assert call(app, scope_of("/v1/ask/1", headers=headers), *[b"a" * 500] * 10)[0] == 413


def test_a_file_has_a_limit_of_its_own(tmp_path):
    app = mini(tmp_path, limits={"body_bytes": 1024, "file_bytes": 4096})
    whole = 4096 + FRAME_BYTES
    assert call(app, scope_of("/v1/files", headers=[CHUNKED]), b"a" * whole)[2] == {"bytes": whole}
    assert call(app, scope_of("/v1/files", headers=[CHUNKED]), b"a" * (whole + 1))[0] == 413


def test_a_body_that_does_not_come_is_given_up(tmp_path):
    app = mini(tmp_path, limits={"body_s": 0.1})
    scope = scope_of("/read", headers=[(b"content-length", b"10")])
    status, headers, problem, _ = call(app, scope, b"a", b"b" * 9, between_s=0.08)
    assert (status, headers[b"connection"]) == (408, b"close")
    assert problem["type"].endswith("#slow-body")


# Requests in hand


def test_more_requests_than_are_allowed_are_told_to_come_again(tmp_path):
    app = mini(tmp_path, limits={"requests": 2})

    async def crowd():
        waiting = asyncio.Event()
        statuses = []

        async def one(path, *, waits):
            async def receive():
                if waits:
                    await waiting.wait()
                return {"type": "http.request", "body": b"", "more_body": False}

            async def send(message):
                if message["type"] == "http.response.start":
                    statuses.append((message["status"], dict(message["headers"]).get(b"retry-after")))

            await app(scope_of(path, headers=[CHUNKED]), receive, send)

        held = [asyncio.create_task(one("/read", waits=True)) for _ in range(2)]
        await asyncio.sleep(0.01)
        await one("/read", waits=False)
        await one("/healthz", waits=False)  # 405: it is no POST, but it was let through
        waiting.set()
        await asyncio.gather(*held)
        await one("/read", waits=False)
        return statuses

    assert asyncio.run(crowd()) == [(429, b"1"), (405, None), (200, None), (200, None), (200, None)]


# Draining


def test_while_the_server_drains_every_answer_closes_its_connection(ask):
    assert "connection" not in ask.get("/").headers
    ask.app.state.served.phase.draining = True
    for path in ("/", "/nowhere", "/static/style.css"):
        assert ask.get(path).headers["connection"] == "close"


def test_a_request_that_is_cut_off_when_the_server_stops_is_told_so(tmp_path):
    app = mini(tmp_path)

    async def cut_off():
        sent = []

        async def receive():
            await asyncio.sleep(60)

        async def send(message):
            sent.append(message)

        task = asyncio.create_task(app(scope_of("/read", headers=[CHUNKED]), receive, send))
        await asyncio.sleep(0.01)
        app.state.served.phase.draining = True
        task.cancel()
        await task
        return sent[0]["status"]

    assert asyncio.run(cut_off()) == 503


# The log


def test_each_request_is_one_line_that_does_not_hold_what_was_asked(ask, caplog):
    caplog.set_level(logging.INFO, "distilora.serve")
    answer = ask.post("/v1/ask/12?q=secret", json={"texts": PRIVATE}, headers={"X-Request-Id": "abc-1"})
    (line,) = caplog.messages
    assert line.startswith("POST /v1/ask/{number} 200 ")
    assert line.endswith(" ms abc-1 testclient")
    assert answer.headers["x-request-id"] == "abc-1"


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "a\tb", "é"])
def test_a_request_id_that_could_spoil_the_log_is_replaced(ask, given):
    assert len(ask.get("/", headers={"X-Request-Id": given.encode("latin-1")}).headers["x-request-id"]) == 16


def test_requests_are_counted_by_the_paths_template(ask):
    ask.get("/v1/ask/12")
    ask.request("BREW", "/v1/ask/13")
    ask.get("/nowhere/at/all")
    ask.get("/static/style.css")
    ask.get("/static/none.css")
    counted = ask.app.state.served.metrics.exposition()[0].decode()
    assert "/v1/ask/{number}" in counted
    assert "/v1/ask/1" not in counted
    assert "nowhere" not in counted
    assert '"/static"' in counted
    assert ".css" not in counted
    assert "BREW" not in counted


def test_a_mistake_is_logged_by_its_place_and_answered_without_a_word_of_it(ask, caplog):
    answer = ask.get("/mistake")
    assert kind_of(answer) == "failed"
    assert PRIVATE not in answer.text + caplog.text
    assert answer.headers["x-request-id"] in caplog.text
    assert "builtins.ValueError" in caplog.text
    assert "in mistake" in caplog.text


def test_half_an_answer_never_looks_like_a_whole_one(tmp_path):
    sent = []

    async def receive():
        await asyncio.sleep(60)

    async def send(message):
        sent.append(message)

    asyncio.run(mini(tmp_path)(scope_of("/half", method="GET"), receive, send))
    assert [message.get("more_body") for message in sent[1:]] == [True]


def test_only_where_it_is_allowed_the_log_holds_what_was_asked(make, caplog):
    caplog.set_level(logging.INFO, "distilora.serve")
    make().post("/v1/ask/1", json={"texts": PRIVATE})
    assert PRIVATE not in caplog.text
    ask = make(log_texts=True, api_key=KEY)
    ask.post("/v1/ask/1", json={"texts": PRIVATE}, headers={"X-API-Key": KEY})
    ask.post("/sign-in", data={"key": KEY})
    assert PRIVATE in caplog.text
    assert KEY not in caplog.text


# Failures


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{", "malformed"),
        (b"\xff\xfe{}", "malformed"),
        (b'{"texts": "\xe9"}', "malformed"),
        (b"[" * 100_000, "malformed"),
        (b'{"share": ' + b"1" * 5000 + b"}", "malformed"),
        (b'{"share": NaN}', "invalid"),
        (b'{"share": 1e999}', "invalid"),
        (b'{"share": -Infinity}', "invalid"),
        (b'{"share": 1.5}', "invalid"),
        (b'{"texts": [1]}', "invalid"),
        (b'{"texts": null}', "invalid"),
        (b'{"idiot": 1}', "invalid"),
        (b"[]", "invalid"),
        (b"null", "invalid"),
        (b"", "invalid"),
        (rb'{"texts": "\ud800"}', "invalid"),
    ],
)
def test_a_body_that_cannot_be_used_is_the_clients_problem(ask, body, kind):
    assert kind_of(ask.post("/v1/text", content=body, headers={"Content-Type": "application/json"})) == kind


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({"share": 2}, [{"where": "share", "problem": "must be at most 1.0"}]),
        ({"share": PRIVATE}, [{"where": "share", "problem": "must be a number"}]),
        ({"texts": ["a", 7]}, [{"where": "texts.1", "problem": "must be text"}]),
        ({"texts": 7}, [{"where": "texts", "problem": "must be text or a list"}]),
        ({PRIVATE: 1}, [{"where": "body", "problem": "holds an unknown field"}]),
        ([PRIVATE], [{"where": "body", "problem": "must be an object"}]),
    ],
)
def test_what_is_wrong_is_said_in_plain_words_without_the_values(ask, body, errors):
    answer = ask.post("/v1/ask/1", json=body)
    assert answer.json()["errors"] == errors
    assert PRIVATE not in answer.text


def test_a_wrong_number_in_the_address_is_called_by_its_name(ask):
    assert ask.get("/v1/ask/x").json()["errors"] == [{"where": "path.number", "problem": "must be a whole number"}]


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x", None]
)
def test_json_must_be_called_json(ask, media_type):
    headers = {"Content-Type": media_type} if media_type else {}
    assert kind_of(ask.post("/v1/ask/1", content=b'{"texts": "a"}', headers=headers)) == "wrong-media-type"


def test_a_method_that_is_not_taken_is_told_all_that_are(ask):
    answer = ask.put("/v1/ask/1")
    assert kind_of(answer) == "wrong-method"
    assert answer.headers["allow"] == "GET, HEAD, POST"
    assert ask.put("/static/style.css").headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/nowhere", "/static/none.css", "/static/../../pyproject.toml", "/static/%2e%2e/x"])
def test_an_unknown_address_is_a_problem_of_the_same_form(ask, path):
    answer = ask.get(path)
    assert kind_of(answer) == "not-found"
    assert path not in answer.text


def test_a_person_gets_a_page_where_a_program_gets_json(ask):
    answer = ask.get("/nowhere", headers=PAGE)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert kind_of(ask.get("/v1/nowhere", headers=PAGE)) == "not-found"


def test_head_is_answered_wherever_get_is(ask):
    got, head = ask.get("/"), ask.head("/")
    assert (head.status_code, head.headers["content-length"]) == (200, got.headers["content-length"])
