"""The server as a process: it starts soon, says what is wrong with its address, and stops without losing anybody."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from distilora.errors import ConfigError
from distilora.serve.catalog import Catalog, Unavailable
from distilora.serve.listening import listen, stop_new_connections
from distilora.serve.metrics import Metrics
from distilora.serve.server import can_be_written, feedback_beside, ready_lines
from distilora.serve.settings import ServeSettings
from distilora.serve.state import Served
from tiny_bundle import save_tiny_bundle

CLIENTS = 16
EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing is bound
BODY = json.dumps({"texts": "you are all idiots"}).encode()
JSON = {"Content-Type": "application/json"}
HEAD = (
    b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n" % len(BODY)
)
REQUEST = b"%b\r\n%b" % (HEAD, BODY)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return save_tiny_bundle(tmp_path_factory.mktemp("bundles") / "odd")


@contextmanager
def server(*words, env=None):
    """Give a running server, its port and what it said when it was ready; it is killed if it does not end by itself."""
    command = [sys.executable, "-m", "distilora", "serve", *map(str, words), "--port", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            line = process.stdout.readline()
            found = re.search(r"http://\S+:(\d+)", line)
            assert found, line + process.stderr.read()
            yield process, int(found[1]), line
        finally:
            process.kill()


def ask(port, path="/healthz", **headers):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


def wait_for(true, seconds=20):
    """Wait until something is so, and fail where it does not become so in time."""
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, f"not so after {seconds} s"
        time.sleep(0.01)


def wait_until_it_drains(port):
    wait_for(lambda: ask(port, "/readyz")[0] == 503)


class Client(threading.Thread):
    """Asks over one connection after the other as fast as it is answered, until nobody accepts any more."""

    def __init__(self, port):
        super().__init__()
        self.port, self.answered, self.connections, self.lost = port, 0, 0, []
        self.start()

    def run(self):
        while True:
            try:
                connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
            except OSError:
                return
            self.connections += 1
            with connection, connection.makefile("rb") as answers:
                while self._one(connection, answers):
                    pass

    def _one(self, connection, answers):
        """Return whether the connection goes on after one request; note it where no whole answer came."""
        try:
            connection.sendall(REQUEST)
            status = answers.readline()
            headers = dict(line.lower().split(b": ", 1) for line in iter(answers.readline, b"\r\n"))
            body = answers.read(int(headers[b"content-length"]))
            assert status.startswith(b"HTTP/1.1 200"), status
            assert b"probabilities" in body
        except Exception as error:  # whatever it is, the request is lost
            self.lost.append(repr(error))
            return False
        self.answered += 1
        return headers.get(b"connection") != b"close\r\n"


def test_told_to_stop_under_load_it_answers_all_that_it_accepted(bundle):
    with server(bundle, "--no-feedback", "--quiet", "--drain-s", "0.3") as (process, port, _):
        clients = [Client(port) for _ in range(CLIENTS)]
        wait_for(lambda: all(client.answered > 10 for client in clients))
        process.send_signal(signal.SIGTERM)
        code = process.wait(20)
        for client in clients:
            client.join()
        said = process.stderr.read()
    assert [loss for client in clients for loss in client.lost] == []
    assert (code, said) == (0, "")


def test_while_it_drains_it_answers_and_closes(bundle):
    with server(bundle, "--no-feedback", "--drain-s", "60") as (process, port, _):
        assert "Connection" not in {name.title() for name in ask(port)[1]}
        process.send_signal(signal.SIGTERM)
        wait_until_it_drains(port)
        status, headers, _ = ask(port, "/healthz")
        assert (status, headers["connection"]) == (200, "close")


def test_ctrl_c_ends_it_soon_and_quietly(bundle):
    with server(bundle, "--no-feedback", "--quiet", "--drain-s", "60") as (process, port, _):
        ask(port)
        began = time.perf_counter()
        process.send_signal(signal.SIGINT)
        assert (process.wait(20), process.stderr.read()) == (0, "")
        assert time.perf_counter() - began < 10


def test_a_second_ctrl_c_ends_it_at_once(bundle):
    with server(bundle, "--no-feedback", "--drain-s", "60") as (process, port, _):
        ask(port)
        process.send_signal(signal.SIGTERM)
        wait_until_it_drains(port)
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 130


def test_the_first_answer_comes_soon_after_the_start(bundle):
    began = time.perf_counter()
    with server(bundle, "--no-feedback") as (_, port, line):
        assert ask(port)[0] == 200
        seconds = time.perf_counter() - began
        assert line == f"distilora serves 1 model at http://127.0.0.1:{port} (Ctrl-C stops)\n"
    assert seconds < 10


def test_it_says_who_it_answered_but_not_what_it_is(bundle):
    with server(bundle, "--no-feedback") as (process, port, _):
        assert "server" not in {name.lower() for name in ask(port, "/?secret=1")[1]}
        process.send_signal(signal.SIGINT)
        process.wait(20)
        (line,) = process.stderr.read().splitlines()
        assert re.search(r"distilora.serve.access: GET / 200 [\d.]+ ms \w+ 127.0.0.1$", line)


def said(port, *parts):
    """Return status and kind of what comes back after some bytes, or nothing where the connection just ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
        answer = http.client.HTTPResponse(connection)
        try:
            answer.begin()
        except http.client.BadStatusLine:  # closed
            return None
        return answer.status, json.loads(answer.read())["type"]


def test_headers_without_an_end_are_refused(bundle):
    with server(bundle, "--no-feedback", "--quiet") as (_, port, _):
        beginning = b"GET / HTTP/1.1\r\nHost: localhost\r\nLong: "
        assert said(port, beginning + b"x" * 2**15) == (431, "/api#head-too-large")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            said(port, beginning + b"x" * 2**26)
        assert ask(port)[0] == 200


def test_what_is_no_http_is_refused_in_the_usual_form(bundle):
    with server(bundle, "--no-feedback", "--quiet") as (_, port, _):
        assert said(port, b"\x16\x03\x01\x02\x00\x01\x00") == (400, "/api#malformed")


def test_a_client_that_sends_no_whole_head_is_not_waited_for(bundle):
    with server(bundle, "--no-feedback", "--quiet", "--limit", "body_s=0.3") as (_, port, _):
        assert said(port, b"GET / HTTP/1.1\r\nHost: ") == (408, "/api#slow-body")
        assert said(port) is None
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            for _ in range(2):  # one that was answered may stay longer without asking
                connection.request("GET", "/healthz")
                assert connection.getresponse().read()
                time.sleep(0.6)


def test_more_connections_than_allowed_are_refused(bundle):
    with (
        server(bundle, "--no-feedback", "--quiet", "--limit", "connections=2") as (_, port, _),
        closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as one,
        closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as two,
    ):
        for connection in (one, two):
            connection.request("GET", "/healthz")
            assert connection.getresponse().read()
        assert said(port) == (503, "/api#unavailable")
        one.request("GET", "/healthz")
        assert one.getresponse().status == 200


def test_a_body_that_is_too_large_is_answered_even_while_it_is_sent(bundle):
    with server(bundle, "--no-feedback", "--quiet") as (_, port, _):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        for _ in range(2):  # the connection stays usable
            connection.request("POST", "/v1/predict", b"x" * 2**22, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            assert (answer.status, json.loads(answer.read())["type"]) == (413, "/api#body-too-large")
        connection.close()


def test_nobody_is_led_from_https_to_http_by_a_slash(bundle):
    with server(bundle, "--no-feedback", "--quiet") as (_, port, _):
        assert ask(port, "/files/")[0] == 404


def test_where_few_files_may_be_open_all_connections_that_it_takes_are_answered(bundle):
    resource = pytest.importorskip("resource")
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as opened:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (128, usual[1]))  # the child's, too
            running = opened.enter_context(server(bundle, "--no-feedback", "--limit", "connections=300"))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, usual)
        process, port, _ = running
        for _ in range(200):
            opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
        assert ask(port)[0] == 200
        process.send_signal(signal.SIGINT)
        process.wait(20)
        assert "ERROR" not in process.stderr.read()


def test_where_no_more_files_may_be_open_it_takes_fewer_connections():
    resource = pytest.importorskip("resource")
    code = """
import resource
from distilora.serve.listening import room_for
for most in (4096, 1024, 100):
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, most))
    print(room_for(1024), room_for(10), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 4096:
        pytest.skip("may open too few files itself")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines() == ["1024 10 1216", "832 10 1024", "25 10 100"]


def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_mistake_of_the_server(bundle):
    with server(bundle, "--no-feedback") as (process, port, _):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(b"%bExpect: 100-continue\r\n\r\n" % HEAD)
            assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"  # it reads the body
            connection.sendall(BODY[:-5])
        ask(port)
        process.send_signal(signal.SIGINT)
        process.wait(20)
        lines = process.stderr.read().splitlines()
    assert len(lines) == 2
    assert " POST /v1/predict 499 " in lines[0]


def test_killed_while_people_judge_it_has_every_judgement_that_it_acknowledged(bundle, tmp_path):
    kept = tmp_path / "feedback.sqlite3"
    acknowledged = []

    def judge(number):
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            for count in range(10_000):
                judgement = {"text": f"comment {number} {count}", "label": "civil"}
                try:
                    connection.request("POST", "/v1/feedback", json.dumps(judgement), JSON)
                    answer = connection.getresponse()
                    row = json.loads(answer.read())
                except (OSError, http.client.HTTPException, ValueError):  # killed
                    return
                assert answer.status == 201, row
                acknowledged.append((row["id"], judgement["text"]))

    with server(bundle, "--feedback", kept, "--quiet") as (process, port, _):
        people = [threading.Thread(target=judge, args=(number,)) for number in range(4)]
        for person in people:
            person.start()
        wait_for(lambda: len(acknowledged) >= 12)
        process.kill()
        for person in people:
            person.join()
    with server(bundle, "--feedback", kept, "--quiet") as (_, port, _):
        lines = ask(port, "/v1/feedback.jsonl")[2].decode().splitlines()
    assert {text for _, text in acknowledged} <= {json.loads(line)["text"] for line in lines}


def test_a_taken_port_is_one_line(bundle):
    with closing(listen("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "distilora", "serve", str(bundle), "--no-feedback", "--port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"distilora: 127.0.0.1:{port}: address already in use; choose another with --host or")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("host", ["192.0.2.1", "no such name", "x" * 300, ""])
def test_an_address_that_is_none_of_this_machine_is_one_line(host):
    with pytest.raises(ConfigError, match=r"\A[^\n]*--host[^\n]*\Z"):
        listen(host, 0)


def test_a_socket_that_takes_no_more_still_gives_those_who_are_connected():
    with closing(listen("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as before:
        before.sendall(b"question")
        stop_new_connections(listener)
        listener.settimeout(5)
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.recv(100) == b"question"
            accepted.sendall(b"answer")
        assert before.recv(100) == b"answer"


def served(**settings):
    return Served(
        settings=ServeSettings(**settings),
        catalog=Catalog({}, unavailable=(Unavailable("even", "is damaged"),)),
        batcher=None,
        metrics=Metrics(),
    )


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        ({}, ["at http://127.0.0.1:80 (", "not served: even: is damaged"]),
        ({"host": "::1"}, ["at http://[::1]:80 (", "even"]),
        ({"host": EVERYWHERE}, ["at http://127.0.0.1:80 (", "even", "warning: whoever reaches 0.0.0.0"]),
        ({"host": EVERYWHERE, "api_key": "x" * 16}, ["at http://127.0.0.1:80 (", "even"]),
        ({"feedback": "runs/feedback.sqlite3"}, ["at http", "even", "feedback: runs/feedback.sqlite3"]),
        ({"feedback": "postgresql://me:secret@db/d?password=x"}, ["at http", "even", "feedback: postgresql://db/d"]),
    ],
)
def test_what_a_person_should_know_is_said_at_the_start(settings, lines):
    said = ready_lines(served(**settings), port=80)
    assert len(said) == len(lines)
    for part, line in zip(lines, said, strict=True):
        assert part in line
    assert "secret" not in "".join(said)


def test_feedback_lies_in_the_first_experiment_else_where_we_are(bundle, tmp_path):
    assert feedback_beside([bundle, tmp_path]) == tmp_path / "feedback.sqlite3"
    assert feedback_beside([bundle]) == Path("feedback.sqlite3")


def test_a_folder_that_is_not_there_cannot_be_written(tmp_path):
    assert can_be_written(tmp_path / "feedback.sqlite3")
    assert not can_be_written(tmp_path / "none" / "feedback.sqlite3")
