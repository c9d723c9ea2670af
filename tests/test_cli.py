"""What a person at a terminal, or a program behind a pipe, gets."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from distilora.cli import main
from tiny import save_tiny_encoder
from tiny_experiment import save_comments


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Return exit code, standard output and standard error of a command."""
    monkeypatch.setattr(sys, "argv", ["distilora", *map(str, words)])
    with pytest.raises(SystemExit) as leaving:
        main()
    printed = capsys.readouterr()
    return int(leaving.value.code or 0), printed.out, printed.err


@pytest.fixture
def cli(monkeypatch, capsys):
    return lambda *words: run(monkeypatch, capsys, *words)


def test_the_version_is_one_line(cli):
    code, out, err = cli("--version")
    assert (code, err) == (0, "")
    assert out.startswith("distilora ")
    assert out.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["compare", "--set", "training.epoch=3"], 'training.epoch: unknown setting; did you mean "epochs"?'),
        (["compare", "--set", "training.epochs"], "write table.key=value"),
        (["compare", "absent.toml"], "absent.toml: no such file"),
        (["compare", "--methods", "odd,evn"], 'did you mean "even"?'),
        (["compare", "--data", "absent.csv", "--out", "there"], "absent.csv: no such file"),
        (["compare", "--label-names", "civil"], "write label=name pairs"),
        (["compare", "--encoder", "no/such/encoder", "--out", "there"], "encoder no/such/encoder"),
        (["compare", "--methods", "lora", "--set", "lora.targets=querry", "--out", "there"], '"querry"'),
        (["compare", "--set", "methods.odd.layers=1,9", "--methods", "odd", "--out", "there"], "9"),
        (["compare", "--set", "methods.lora.layers=odd"], "only students are made of layers"),
        (["report", "nothing-here"], "holds no complete run"),
        (["data", "smaple"], 'did you mean "sample"?'),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_exit_code_2(cli, words, answer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = cli(*words)
    assert (code, out) == (2, "")
    assert answer in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []  # nothing is left behind by a mistake


def test_every_fault_of_a_source_is_told_with_its_row(cli, tmp_path):
    path = tmp_path / "b😀d.csv"
    path.write_text("text,label\nfine by me,0\n,1\nalso fine,0\nrude,1,extra\n", encoding="utf-8")
    code, out, _ = cli("data", path, "--label-names", "0=civil,1=rüde 😀")
    assert code == 0
    assert "row 2: text is empty" in out
    assert "row 4: the header has 2 fields, this row 3" in out
    code, out, _ = cli("data", path, "--json", "--plot", tmp_path / "lengths.png")
    assert [fault["row"] for fault in json.loads(out)["faults"] if fault["row"]] == [2, 4]
    assert (tmp_path / "lengths.png").read_bytes().startswith(b"\x89PNG")


def test_a_comparison_for_a_program_prints_json_alone_and_a_report_again_is_the_same(cli, tmp_path):
    encoder = save_tiny_encoder(tmp_path / "encoder", layers=2)
    comments = save_comments(tmp_path / "comments.csv")
    words = ["--data", comments, "--encoder", encoder, "--methods", "odd", "--out", tmp_path / "out", "--json"]
    words += ["--set", "encoder.max_length=32", "--set", "training.epochs=1", "--set", "training.learning_rate=0.003"]
    code, out, err = cli("compare", *words)
    found = json.loads(out)
    assert code == 0
    assert {row["method"] for row in found["comparison"]["rows"]} == {"teacher", "odd", "majority", "tfidf"}
    assert "2/2 odd seed 0" in err
    report = Path(found["report"])
    before = {path.name: path.read_bytes() for path in report.parent.iterdir() if path.is_file()}
    report.unlink()
    code, out, _ = cli("report", report.parent)
    assert code == 0
    assert f"report: {report}" in out
    assert {path.name: path.read_bytes() for path in report.parent.iterdir() if path.is_file()} == before


def test_a_file_in_the_place_of_the_folder_is_refused(cli, tmp_path):
    (tmp_path / "out").write_text("mine")
    code, _, err = cli("compare", "--out", tmp_path / "out")
    assert code == 2
    assert err.count("\n") == 1
    assert (tmp_path / "out").read_text() == "mine"
