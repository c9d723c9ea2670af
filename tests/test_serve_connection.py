"""One connection: whatever a client sends, leaves unread or breaks off, it is given no more than its share."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import logging
import socket
import threading
import time
from functools import partial

import pytest
import uvicorn

from distilora.serve.connection import HEAD_BYTES, MOST_AHEAD, Connection
from distilora.serve.settings import Limits

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Echo:
    """Answers each request with its body, address and protocol; some addresses have a way of their own."""

    def __init__(self):
        self.begun = threading.Event()
        self.left = threading.Event()

    async def __call__(self, scope, receive, send):
        if scope["path"] == "/for-ever":
            await self._wait(for_ever=send)
        if scope["path"] == "/never":
            await self._wait()
        if scope["path"] == "/later":
            await asyncio.sleep(0.3)
        body = b""
        while scope["path"] != "/unread":
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        answer = b"%s %d" % (scope["raw_path"], len(body))
        head = [(b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": answer})

    async def _wait(self, *, for_ever=None):
        self.begun.set()
        try:
            if for_ever is None:
                await asyncio.sleep(60)
            await for_ever({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await for_ever({"type": "http.response.body", "body": b"x" * 2**16, "more_body": True})
        finally:
            self.left.set()


@contextlib.contextmanager
def connected(*, keep_alive_s=5, application=None, **limits):
    """Give a function that connects to a server of an application behind nothing but Connection."""
    server = uvicorn.Server(
        uvicorn.Config(
            application or Echo(),
            log_config=None,
            lifespan="off",
            ws="none",
            http=partial(Connection, limits=Limits(**limits)),
            timeout_keep_alive=keep_alive_s,
            timeout_graceful_shutdown=5,
        )
    )
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as opened:
        thread = threading.Thread(target=asyncio.run, args=(server.serve([listener]),))
        thread.start()

        def connect():
            return opened.enter_context(socket.create_connection(listener.getsockname(), timeout=5))

        try:
            yield connect
        finally:
            opened.close()
            server.should_exit = True
            thread.join()


def answer(connection):
    """Return status and body of the next answer, and whether the connection ends with it."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    body = response.read()
    return response.status, body, response.will_close


def kind(connection):
    status, body, ends = answer(connection)
    assert (json.loads(body)["status"], ends) == (status, True)
    return json.loads(body)["type"].partition("#")[2]


def post(path=b"/", body=b"", *headers):
    return b"\r\n".join(
        [b"POST %b HTTP/1.1" % path, b"Host: localhost", b"Content-Length: %d" % len(body), *headers, b"", body]
    )


def test_requests_that_are_sent_ahead_are_answered_in_order():
    with connected() as connect:
        client = connect()
        client.sendall(post(b"/later", b"abc") + GET + post(b"/last"))
        assert answers_of(client, 3) == [b"/later 3", b"/ 0", b"/last 0"]


def answers_of(client, count):
    """Return the bodies of several answers, which may come in one piece."""
    with client.makefile("rb") as stream:
        bodies = []
        for _ in range(count):
            assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
            headers = dict(line.lower().rstrip().split(b": ") for line in iter(stream.readline, b"\r\n"))
            bodies.append(stream.read(int(headers[b"content-length"])))
        return bodies


def test_a_head_that_begins_behind_a_long_body_is_no_long_head():
    body = b"x" * (2 * HEAD_BYTES)
    with connected() as connect:
        client = connect()
        client.sendall(post(b"/long", body) + GET[:10])
        assert answers_of(client, 1) == [b"/long %d" % len(body)]
        client.sendall(GET[10:])
        assert answers_of(client, 1) == [b"/ 0"]


@pytest.mark.parametrize("pieces", [1, 2, 50])
def test_a_head_that_is_too_long_is_refused_however_it_comes(pieces):
    head = b"GET / HTTP/1.1\r\nHost: localhost\r\nLong: " + b"x" * HEAD_BYTES + b"\r\n\r\n"
    size = len(head) // pieces + 1
    with connected() as connect:
        client = connect()
        with contextlib.suppress(OSError):  # closed while it is sent
            for start in range(0, len(head), size):
                client.sendall(head[start : start + size])
                time.sleep(0.01)
        assert kind(client) == "head-too-large"


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET http://localhost HTTP/1.1",
        b"GET ? HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET /\xff HTTP/1.1",
        b"G\xc3 / HTTP/1.1",
        b"CONNECT other.example:443 HTTP/1.1",
        b"CONNECT / HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"GET / HTTP/9.9",
        b"",
    ],
)
def test_what_names_no_address_of_the_server_is_malformed(request_line):
    with connected() as connect:
        client = connect()
        client.sendall(request_line + b"\r\nHost: localhost\r\n\r\n")
        assert kind(client) == "malformed"


@pytest.mark.parametrize(
    "framing",
    [
        [b"Content-Length: 3", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Content-Length: 3"],
        [b"Content-Length: 3", b"Content-Length: 4"],
        [b"Content-Length: 3, 3"],
        [b"Content-Length: -3"],
        [b"Content-Length: 0x3"],
        [b"Content-Length: 99999999999999999999"],
        [b"Content-Length : 3"],
        [b"Transfer-Encoding: chunked, gzip"],
        [b"Transfer-Encoding: xchunked"],
        [b"Transfer-Encoding:\x0bchunked"],
        [b"X: y\r\n Content-Length: 3"],
        [b"X: a\x00b", b"Content-Length: 3"],
    ],
)
def test_a_request_whose_end_two_servers_could_see_in_two_places_is_malformed(framing):
    with connected() as connect:
        client = connect()
        client.sendall(b"\r\n".join([b"POST / HTTP/1.1", b"Host: localhost", *framing, b"", b"3\r\nabc\r\n0\r\n\r\n"]))
        assert kind(client) == "malformed"


def test_what_is_no_request_does_not_take_the_answer_of_the_one_before():
    with connected() as connect:
        client = connect()
        client.sendall(post(b"/later", b"abc") + b"\x16\x03\x01\r\n\r\n" + GET)
        assert answers_of(client, 1) == [b"/later 3"]
        assert client.recv(100) == b""


def test_a_body_that_breaks_off_in_nonsense_is_malformed_and_ends_its_request():
    with connected() as connect:
        client = connect()
        client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n")
        assert kind(client) == "malformed"


def test_nobody_sends_requests_ahead_for_ever():
    with connected() as connect:
        client = connect()
        client.sendall(post(b"/later") + GET * 2 * MOST_AHEAD)
        assert answers_of(client, 1 + MOST_AHEAD) == [b"/later 0", *[b"/ 0"] * MOST_AHEAD]
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(100) == b""


def test_a_wish_for_another_protocol_is_left_unheard_and_the_body_read():
    wish = [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQBAAAAAAIAAAAA"]
    with connected() as connect:
        client = connect()
        client.sendall(post(b"/wish", b"abc", *wish) + GET)
        assert answers_of(client, 2) == [b"/wish 3", b"/ 0"]
        long = post(b"/wish", b"x" * 2**20, *wish)
        client.sendall(long)
        assert answers_of(client, 1) == [b"/wish %d" % 2**20]
        client.sendall(post(b"/wish", b"", b"Connection: close, Upgrade", b"Upgrade: websocket"))
        assert answer(client) == (200, b"/wish 0", True)


def test_who_asks_whether_to_send_a_body_need_not_send_it_after_the_answer():
    with connected() as connect:
        client = connect()
        client.sendall(b"POST /unread HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
        assert answer(client) == (200, b"/unread 0", True)
        client = connect()
        client.sendall(b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"x" * 9)
        assert answer(client)[:2] == (200, b"/read 9")


@pytest.mark.parametrize("sent", [b"", b"\r\n"])
def test_an_idle_connection_ends_even_if_line_ends_are_sent_on_it(sent):
    with connected(keep_alive_s=0.3) as connect:
        client = connect()
        client.sendall(GET)
        assert answers_of(client, 1) == [b"/ 0"]
        began = time.perf_counter()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while time.perf_counter() - began < 3:
                client.sendall(sent)
                client.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    assert client.recv(100) == b""
                    break
        assert time.perf_counter() - began < 2


def test_a_connection_ends_whose_answered_request_is_never_sent_to_its_end():
    with connected(keep_alive_s=0.3) as connect:
        client = connect()
        client.sendall(b"POST /unread HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
        assert answers_of(client, 1) == [b"/unread 0"]
        client.sendall(b"x")
        assert client.recv(100) == b""


def test_an_answer_may_take_longer_than_an_idle_connection():
    with connected(keep_alive_s=0.1, body_s=0.1) as connect:
        client = connect()
        client.sendall(GET)
        assert answers_of(client, 1) == [b"/ 0"]
        client.sendall(post(b"/later"))
        assert answers_of(client, 1) == [b"/later 0"]


def test_a_second_head_that_does_not_come_is_refused_too():
    with connected(body_s=0.2) as connect:
        client = connect()
        client.sendall(GET)
        assert answers_of(client, 1) == [b"/ 0"]
        client.sendall(GET[:10])
        assert kind(client) == "slow-body"


def test_a_client_that_does_not_read_is_not_waited_for():
    echo = Echo()
    with connected(application=echo, body_s=0.3) as connect:
        client = connect()
        client.sendall(b"GET /for-ever HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert echo.begun.wait(5)
        assert echo.left.wait(5)


def test_a_client_that_reads_slowly_but_reads_gets_everything():
    echo = Echo()
    with connected(application=echo, body_s=0.4) as connect:
        client = connect()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        client.sendall(b"GET /for-ever HTTP/1.1\r\nHost: localhost\r\n\r\n")
        began = time.perf_counter()
        while time.perf_counter() - began < 1.2:
            assert client.recv(2**20)
            time.sleep(0.01)
        assert not echo.left.is_set()


def test_the_request_of_a_client_that_left_is_stopped_without_a_word(caplog):
    caplog.set_level(logging.WARNING)
    echo = Echo()
    with connected(application=echo) as connect:
        client = connect()
        client.sendall(b"GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert echo.begun.wait(5)
        client.close()
        assert echo.left.wait(5)
    assert caplog.text == ""


def test_a_refused_connection_is_one_line_of_the_log_without_what_was_sent(caplog):
    caplog.set_level(logging.INFO)
    with connected() as connect:
        client = connect()
        client.sendall(b"secret\x1b[31m\nsecret\r\n\r\n")
        assert kind(client) == "malformed"
        # The answer is sent before its line is written, by another thread.
        deadline = time.monotonic() + 5
        while not access_lines(caplog) and time.monotonic() < deadline:
            time.sleep(0.01)
    assert access_lines(caplog) == ["- - 400 - - 127.0.0.1"]
    assert "secret" not in caplog.text


def access_lines(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "distilora.serve.access"]
