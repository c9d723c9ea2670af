"""The commands on bundles, as a person at a terminal or a program behind a pipe has them."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
import time

import pytest

from test_cli import run
from tiny_bundle import save_tiny_bundle


@pytest.fixture
def cli(monkeypatch, capsys):
    return lambda *words: run(monkeypatch, capsys, *words)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return save_tiny_bundle(tmp_path_factory.mktemp("bundles") / "odd")


def say(monkeypatch, lines: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))


def test_texts_as_arguments_are_answered_one_a_line(cli, bundle):
    code, out, err = cli("predict", bundle, "you are great", "you are awful")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) == 2
    assert '"you are great"' in lines[0]
    assert all(line.startswith(("civil", "toxic")) for line in lines)


def test_lines_of_standard_input_are_answered_for_a_program(cli, bundle, monkeypatch):
    say(monkeypatch, b"you are great\n\nyou are awful\r\nno line feed at the end")
    code, out, _ = cli("predict", bundle, "--json")
    answers = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [answer["text"] for answer in answers] == ["you are great", "", "you are awful", "no line feed at the end"]
    for answer in answers:
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert answer["label"] in answer["probabilities"]


def test_bytes_that_are_no_text_are_answered_too(cli, bundle, monkeypatch):
    say(monkeypatch, b"\xff\xfe caf\xe9 \x00\n")
    code, out, _ = cli("predict", bundle)
    assert code == 0
    assert len(out.splitlines()) == 1
    assert out.isprintable() or out.rstrip("\n").isprintable()


def test_a_threshold_on_the_command_line_decides(cli, bundle):
    labels = [
        json.loads(cli("predict", bundle, "so it is", "--threshold", share, "--json")[1])["label"] for share in (0, 1)
    ]
    assert labels == ["toxic", "civil"]


def test_answers_come_as_soon_as_lines_do(bundle):
    command = [sys.executable, "-m", "distilora", "predict", str(bundle)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdin.write("good day\n")
        process.stdin.flush()
        assert '"good day"' in process.stdout.readline()  # while standard input is still open
        process.stdin.close()
        assert process.wait(timeout=30) == 0


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["predict", "absent", "text"], "absent"),
        (["predict", ".", "text"], "distilora.json"),
        (["score", "absent", "in.csv", "out.csv"], "absent"),
        (["bench", "absent"], "absent"),
        (["export", "absent", "out"], "absent"),
        (["export", "runs/odd", "out", "--goal", "recall=2"], "goal"),
        (["export", "runs/odd", "out", "--positive", "toxic"], "runs/odd"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_exit_code_2(cli, words, answer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = cli(*words)
    assert (code, out) == (2, "")
    assert answer in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_scored_and_the_rest_is_told(cli, bundle, tmp_path):
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("id,text\n1,you are great\n2,\n3,you are awful\n", encoding="utf-8")
    code, said, err = cli("score", bundle, source, out)
    assert code == 0
    assert "2 of 3 rows" in said
    assert 'text is taken from column "text"' in err  # what is told on the way is not part of the answer
    assert "taken" not in said
    assert "out.csv.rejects.jsonl" in said
    with out.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == ["1", "3"]
    code, _, err = cli("score", bundle, source, out)
    assert code == 2
    assert "--overwrite" in err
    code, said, _ = cli("score", bundle, source, out, "--overwrite", "--json")
    assert code == 0
    assert json.loads(said)["rejected"] == 1


@pytest.mark.parametrize(
    ("content", "line"), [("text\n", "0 of 0 rows scored"), ("text,n\n,1\n", "0 of 1 rows scored")]
)
def test_where_nothing_could_be_scored_no_pace_is_told(cli, bundle, tmp_path, content, line):
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text(content)
    code, said, _ = cli("score", bundle, source, out)
    assert (code, said.splitlines()[0]) == (0, f"{line}: {out}")


@pytest.mark.parametrize(
    ("name", "line"),
    [("out.csv", "distilora: stopped; the same command goes on where it stopped\n"), ("out.parquet", "")],
)
def test_ctrl_c_promises_to_go_on_only_where_it_is_so(bundle, tmp_path, name, line):
    source, partial = tmp_path / "in.csv", tmp_path / f".{name}.partial"
    source.write_text("text\n" + "you are a stupid idiot\n" * 300_000)
    words = [sys.executable, "-m", "distilora", "score", bundle, source, tmp_path / name, "--text", "text"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as child:
        # Not before something is written: until then pyarrow may still be imported, where an interrupt can be lost.
        while child.poll() is None and not (partial.exists() and partial.stat().st_size):
            time.sleep(0.001)
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=30) == 130
        assert child.stderr.read() == line


def test_ctrl_c_says_nothing_where_the_same_command_begins_anew(cli, bundle, monkeypatch):
    class Interrupted(io.BytesIO):
        def read1(self, size=-1):
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Interrupted()))
    assert cli("predict", bundle) == (130, "", "")


def test_a_bundle_is_measured(cli, bundle):
    code, out, _ = cli("bench", bundle, "--rows", "30", "--rounds", "2", "--json")
    assert code == 0
    (figures,) = json.loads(out)["contenders"]
    assert figures["texts_per_s"]["median"] > 0
