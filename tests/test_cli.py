"""What a person at a terminal, or a program behind a pipe, gets."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
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
        (
            ["compare", "--methods", "teacher", "--set", "training.augment=synonym", "--out", "there"],
            'training.augment: "synonym" is not one of word-dropout, swap, misspelling',
        ),
        (["compare", "--set", "methods.teacher.layers=odd"], "only students and LoRA methods are made of some"),
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


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Return an experiment's folder, what comparing printed for a program, and what it told on the way."""
    home = tmp_path_factory.mktemp("compared")
    encoder, comments = save_tiny_encoder(home / "encoder", layers=2), save_comments(home / "comments.csv")
    words = ["--data", comments, "--encoder", encoder, "--methods", "odd", "--out", home / "out", "--json"]
    training = ("epochs=3", "batch_size=8", "learning_rate=0.002", "threads=1")
    settings = ["encoder.max_length=32", "evidence.latency_rounds=1", *(f"training.{setting}" for setting in training)]
    words += [word for setting in settings for word in ("--set", setting)]
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(io.StringIO()) as out,
        redirect_stderr(io.StringIO()) as err,
    ):
        patch.setattr(sys, "argv", ["distilora", "compare", *map(str, words)])
        with pytest.raises(SystemExit) as leaving:
            main()
    assert not leaving.value.code, err.getvalue()
    return home / "out", json.loads(out.getvalue()), err.getvalue()


def test_a_comparison_for_a_program_prints_json_alone(compared):
    folder, found, told = compared
    assert {row["method"] for row in found["comparison"]["methods"]} == {"teacher", "odd", "majority", "tfidf"}
    assert found["report"] == str(folder / "report.html")
    assert found["bundles"] == {name: str(folder / name / "bundle") for name in ("teacher", "odd")}
    assert all((Path(path) / "distilora.json").is_file() for path in found["bundles"].values())
    assert "2/2 odd seed 0" in told


def test_a_report_again_is_the_same(cli, compared):
    folder, _, _ = compared
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    (folder / "report.html").unlink()
    code, out, _ = cli("report", folder)
    assert code == 0
    assert f"report: {folder / 'report.html'}" in out
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_run_is_exported_with_the_positive_classes_that_are_given(cli, compared, tmp_path):
    folder, _, _ = compared
    words = ("export", folder / "odd", tmp_path / "out", "--precision", "fp32", "--goal", "recall=0.5")
    code, out, err = cli(*words, "--positive", "civil", "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["bundle"], found["manifest"]["positive"]) == (str(tmp_path / "out"), ["civil"])
    assert found["manifest"]["threshold"]["recall"] >= found["manifest"]["threshold"]["at_least"] == 0.5
    code, out, err = cli(*words, "--positive", "civil")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "--overwrite" in err
    code, out, err = cli(*words, "--positive", "civl", "--overwrite")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert 'did you mean "civil"?' in err


def test_a_file_in_the_place_of_the_folder_is_refused(cli, tmp_path):
    (tmp_path / "out").write_text("mine")
    code, _, err = cli("compare", "--out", tmp_path / "out")
    assert code == 2
    assert err.count("\n") == 1
    assert (tmp_path / "out").read_text() == "mine"
