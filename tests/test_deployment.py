"""The files in ``deploy/`` and what the documentation says of serving, against the server itself."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.main import get_command

from distilora.cli.app import app
from distilora.serve.problems import KINDS
from distilora.serve.protection.body import FRAME_BYTES
from distilora.serve.settings import Limits, ServeSettings

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
UNITS = ("distilora.service", "distilora@.service")
SYSTEMD_ANALYZE = shutil.which("systemd-analyze")
NGINX = shutil.which("nginx")
NGINX_WRITES = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
INSTALLED = "/opt/distilora/bin/distilora"
MULTIPLES = {"": 1, "k": 2**10, "m": 2**20}


def _read(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def _instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions in order, each as its word and the rest."""
    lines = [line for line in _read("Dockerfile").splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]


def _last(word: str) -> str:
    return [rest for found, rest in _instructions() if found == word][-1]


def _started_by_the_image() -> list[str]:
    return [*json.loads(_last("ENTRYPOINT")), *json.loads(_last("CMD"))]


def _started_by(unit: str) -> list[str]:
    (line,) = re.findall(r"^ExecStart=(.*)$", _read(unit), re.MULTILINE)
    words = shlex.split(line.replace("%i", "8001"))
    assert words[0] == INSTALLED
    return words


def test_the_image_runs_as_a_user_with_a_number_that_is_not_root():
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", _last("USER"))


def test_the_image_is_installed_from_tested_versions_without_the_libraries_for_training():
    (install,) = [rest for word, rest in _instructions() if word == "RUN" and "pip install" in rest]
    assert "--constraint constraints.txt" in install
    assert '".[serve,postgres]"' in install


def test_what_the_image_starts_gets_its_signals_itself():
    health, entry = _last("HEALTHCHECK").partition("CMD ")[2], _last("ENTRYPOINT")
    assert all(isinstance(json.loads(command), list) for command in (entry, _last("CMD"), health))
    assert _last("STOPSIGNAL") == "SIGTERM"


def test_the_image_is_built_of_nothing_but_what_is_sent_to_the_engine():
    sent = {line[1:] for line in _read("Dockerfile.dockerignore").splitlines() if line.startswith("!")}
    copied = [rest.split()[:-1] for word, rest in _instructions() if word == "COPY" and "--from" not in rest]
    assert {source.removeprefix("./") for sources in copied for source in sources} == sent
    assert all((ROOT / name).exists() for name in sent)


@pytest.mark.parametrize("words", [_started_by_the_image(), *map(_started_by, UNITS)], ids=["image", *UNITS])
def test_the_command_that_is_started_is_understood(words: list[str]):
    group = get_command(app)
    name, command, rest = group.resolve_command(group.make_context("distilora", words[1:]), words[1:])
    assert name == "serve"
    command.make_context(name, rest)


class _Answering(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self):
        self.send_response(self.status if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def _server(status: int) -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), type("_Own", (_Answering,), {"status": status})) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def _health(port: int) -> int:
    """Return the exit code of the image's health check, asked of another port."""
    python, option, code = json.loads(_last("HEALTHCHECK").partition("CMD ")[2])
    assert (python, option) == ("python", "-c")
    command = [sys.executable, "-c", code.replace("8000", str(port))]
    return subprocess.run(command, stderr=subprocess.DEVNULL, timeout=20, check=False).returncode


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_believes_what_the_server_says_of_itself(status: int, code: int):
    with _server(status) as port:
        assert _health(port) == code


def test_the_health_check_fails_where_nobody_answers():
    with _server(200) as port:
        pass
    assert _health(port) == 1


@pytest.mark.skipif(SYSTEMD_ANALYZE is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path):
    for unit in UNITS:
        here = _read(unit).replace(INSTALLED, sys.executable)  # it asks whether the program is there
        (tmp_path / unit.replace("@", "@8001")).write_text(here, encoding="utf-8")
    units = sorted(str(path) for path in tmp_path.iterdir())
    done = subprocess.run([SYSTEMD_ANALYZE, "verify", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "distilora" in line]) == (0, [])


def test_a_server_that_stops_is_given_the_time_that_it_may_take():
    settings = ServeSettings()
    longest_s = settings.drain_s + settings.limits.deadline_s + 6  # uvicorn's grace, see server.py
    times = [*(re.search(r"TimeoutStopSec=(\d+)", _read(unit)) for unit in UNITS)]
    times.append(re.search(r"stop_grace_period: (\d+)s", _read("compose.yaml")))
    assert all(found and int(found[1]) >= longest_s for found in times)


def _bytes(setting: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([km]?)", setting).groups()
    return int(number) * MULTIPLES[unit]


def test_nginx_takes_bodies_as_large_and_as_slow_as_the_server_does():
    conf, limits = _read("nginx.conf"), Limits()
    sizes = [_bytes(size) for size in re.findall(r"client_max_body_size (\w+);", conf)]
    assert sizes == [limits.body_bytes, limits.file_bytes + FRAME_BYTES]
    assert f"client_body_timeout {limits.body_s:g}s;" in conf


def test_nginx_waits_for_an_answer_longer_than_the_server_lets_a_request_wait():
    times = re.findall(r"proxy_read_timeout (\d+)s;", _read("nginx.conf"))
    assert times
    assert all(int(time) > Limits().deadline_s for time in times)


def test_what_nginx_says_itself_is_a_problem_as_the_server_says_it():
    said = re.findall(r"return (\d+) '(.*)';", _read("nginx.conf"))
    assert len(said) == 4
    for status, text in said:
        problem = json.loads(text.replace("\\'", "'"))
        kind = KINDS[problem["type"].partition("#")[2]]
        assert (problem["status"], problem["title"], int(status)) == (kind.status, kind.title, kind.status)


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
def test_nginx_finds_nothing_wrong_with_its_file(tmp_path: Path):
    site = _read("nginx.conf").replace("listen 80;", f"listen unix:{tmp_path}/socket;")  # no port is taken
    (tmp_path / "site.conf").write_text(site, encoding="utf-8")
    temporary = " ".join(f"{kind}_temp_path {tmp_path}/{kind};" for kind in NGINX_WRITES)
    whole = f"pid {tmp_path}/pid; events {{}} http {{ access_log off; {temporary} include {tmp_path}/site.conf; }}"
    (tmp_path / "nginx.conf").write_text(whole, encoding="utf-8")
    command = [NGINX, "-t", "-e", "stderr", "-p", tmp_path, "-c", tmp_path / "nginx.conf"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_page_on_serving_tells_every_limit():
    fields = Limits.model_fields.items()
    rows = [f"| `{name}` | {field.default} | {field.description} |" for name, field in fields]
    told = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    assert "\n".join(rows) in told


def test_the_page_on_serving_tells_every_problem():
    rows = [f"| {kind.status} | `{name}` | {kind.title} | {kind.advice} |" for name, kind in KINDS.items()]
    told = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    assert "\n".join(rows) in told


def test_without_a_browser_and_a_way_to_one_the_script_says_so_and_does_not_fail(tmp_path: Path):
    script = ROOT / "scripts" / "install_chromium.sh"
    done = subprocess.run(
        ["/bin/bash", script], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "SKIPPED" in done.stderr) == (0, True)
