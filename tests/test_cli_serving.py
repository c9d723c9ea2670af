"""``distilora serve`` refuses what is wrong in one line before it opens anything, and hands the rest on."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from distilora.cli import serving
from test_cli import run
from tiny_bundle import save_tiny_bundle

KEY = "sixteen-letters!"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing is bound


@pytest.fixture
def cli(monkeypatch, capsys):
    monkeypatch.delenv(serving.KEY_VARIABLE, raising=False)
    return lambda *words: run(monkeypatch, capsys, "serve", *words)


@pytest.fixture
def asked(monkeypatch, cli, tmp_path):
    """Return what asks the server to run with some words, and gives the settings that it would run with."""
    found = {}

    def note(paths, settings, **rest):
        found.update(paths=paths, settings=settings, **rest)

    monkeypatch.setattr("distilora.serve.server.run_server", note)

    def ask(*words):
        code, out, err = cli(tmp_path, *words)
        assert (code, out) == (0, ""), err
        return found

    return ask


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--limit", "body_byts=9"], 'limits.body_byts: unknown setting; did you mean "body_bytes"?'),
        (["--limit", "zebra=9"], "limits.zebra: unknown setting; allowed are body_bytes, file_bytes, "),
        (["--limit", "texts=none"], "limits.texts: Input should be a valid integer"),
        (["--limit", "texts=0"], "limits.texts: Input should be greater than or equal to 1, came '0'"),
        (["--limit", "deadline_s=nan"], "limits.deadline_s: "),
        (["--limit", "texts"], '--limit "texts": write NAME=VALUE, such as texts=64'),
        (["--feedback", "x.sqlite3", "--no-feedback"], "--feedback and --no-feedback: give one of them"),
        (["--allow-host", "https://mod.example.org/"], '--allow-host "https://mod.example.org/": give a name such as'),
        (["--allow-host", "*"], '--allow-host "*": give a name'),
        (["--api-key-file", "none.txt"], "none.txt: No such file or directory"),
    ],
)
def test_a_wrong_setting_is_one_line(cli, tmp_path, words, line):
    code, out, err = cli(tmp_path, *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"distilora: {line}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("key", ["", "short", "fifteen-letters", "sixteen letters!", "sixteen-lettérs!", "\x00" * 16])
def test_a_key_that_is_easy_to_guess_or_cannot_be_sent_is_refused_unprinted(cli, tmp_path, key):
    file = tmp_path / "key.txt"
    file.write_text(f"{key}\n")
    code, out, err = cli(tmp_path, "--api-key-file", file)
    assert (code, out) == (2, "")
    assert err.startswith(f"distilora: {file}: an API key is 16 or more")
    assert not key or key not in err


def test_the_key_comes_from_a_file_or_from_the_environment(asked, tmp_path, monkeypatch):
    assert asked()["settings"].api_key is None
    monkeypatch.setenv(serving.KEY_VARIABLE, KEY)
    assert asked()["settings"].api_key.get_secret_value() == KEY
    (tmp_path / "key.txt").write_text("the-key-of-the-file\n")
    found = asked("--api-key-file", tmp_path / "key.txt")
    assert found["settings"].api_key.get_secret_value() == "the-key-of-the-file"
    assert "the-key" not in repr(found["settings"])


def test_every_option_reaches_the_server(asked, tmp_path):
    found = asked(
        *("--host", EVERYWHERE, "--port", 81, "--threads", 2, "--allow-host", "A.example", "--allow-host", "b:8443"),
        *("--limit", "texts=7", "--limit", "deadline_s=2.5", "--drain-s", 0, "--log-texts", "--no-feedback", "--open"),
    )
    settings = found["settings"]
    assert found["paths"] == [tmp_path]
    assert (settings.host, settings.port, settings.threads) == (EVERYWHERE, 81, 2)
    assert settings.allowed_hosts == ("a.example", "b:8443")
    assert (settings.limits.texts, settings.limits.deadline_s, settings.limits.file_rows) == (7, 2.5, 50_000)
    assert (settings.drain_s, settings.log_texts, settings.feedback) == (0, True, None)
    assert found["when_ready"] is not None


def test_it_listens_on_this_machine_alone_unless_told(asked, tmp_path):
    found = asked()
    assert (found["settings"].host, found["settings"].port, found["when_ready"]) == ("127.0.0.1", 8000, None)
    assert found["settings"].feedback == str(tmp_path / "feedback.sqlite3")
    assert asked("--feedback", "postgresql://db/d")["settings"].feedback == "postgresql://db/d"


def test_where_nothing_can_be_written_feedback_is_off_and_that_is_said(cli, tmp_path, monkeypatch):
    found = {}
    monkeypatch.setattr("distilora.serve.server.run_server", lambda paths, settings, **rest: found.update(s=settings))
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)  # a read-only file system, even for root
    code, _, err = cli(tmp_path)
    assert (code, found["s"].feedback) == (0, None)
    assert err == f"no feedback is kept: {tmp_path} cannot be written; see --feedback\n"


def test_a_missing_library_is_named_with_the_way_to_get_it(cli, tmp_path, monkeypatch):
    from importlib.util import find_spec

    for library in ("fastapi", "uvicorn", "jinja2", "python_multipart", "prometheus_client"):
        monkeypatch.setattr(serving, "find_spec", lambda name, gone=library: None if name == gone else find_spec(name))
        code, _, err = cli(tmp_path)
        assert (code, err.count("\n")) == (2, 1)
        assert err.endswith("is not installed: run pip install 'distilora[serve]'\n")
        assert err.startswith(f"distilora: {library.replace('_', '-')} ")


def test_what_is_no_model_is_one_line(cli, tmp_path):
    code, out, err = cli(tmp_path, "--port", 0)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert str(tmp_path) in err


def test_help_names_every_option_once(cli):
    code, out, _ = cli("--help")
    assert code == 0
    for option in (
        "--host",
        "--port",
        "--allow-host",
        "--api-key-file",
        "--feedback",
        "--limit",
        "--drain-s",
        "--open",
    ):
        assert len(re.findall(rf"^ +{option}\b", out, re.MULTILINE)) == 1, option


def test_serving_loads_nothing_of_the_training(tmp_path):
    bundle = save_tiny_bundle(tmp_path / "odd")
    code = f"""
import sys
from distilora.serve.application import create_app
from distilora.serve.server import _open
from distilora.serve.settings import ServeSettings
from pathlib import Path
create_app(_open([Path({str(bundle)!r})], ServeSettings()))
heavy = {{"torch", "transformers", "peft", "accelerate", "datasets", "sklearn", "matplotlib", "safetensors", "onnx",
          "scipy", "pandas", "pyarrow"}}
print(sorted(heavy & set(sys.modules)), flush=True)
import os; os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")
