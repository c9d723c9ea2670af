"""What in the scripts of the benchmarks would cost hours if it went wrong unseen."""

from __future__ import annotations

import runpy
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from distilora.config import read_experiment
from tiny_experiment import save_comments

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def test_the_comments_without_labels_are_whole_and_those_of_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    write = runpy.run_path(str(BENCHMARKS / "methods.py"))["_write_unlabelled"]
    source = save_comments(tmp_path / "comments.csv")
    settings = read_experiment(changes={"data": {"source": str(source), "train_samples": 40}})
    arguments = Namespace(work=tmp_path / "work", unlabelled_samples=10)
    path = write(settings, arguments)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert write(settings, arguments).read_bytes() == whole
    arguments.unlabelled_samples = 20
    assert len(write(settings, arguments).read_text().splitlines()) == 1 + 20


def test_a_part_that_is_not_there_to_be_killed_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read_arguments = runpy.run_path(str(BENCHMARKS / "chaos.py"))["_arguments"]
    monkeypatch.setattr(sys, "argv", ["chaos.py", "--only", "score-ray"])
    assert read_arguments().only == ["score-ray"]
    monkeypatch.setattr(sys, "argv", ["chaos.py", "--only", "score-lokal"])
    with pytest.raises(SystemExit) as refused:
        read_arguments()
    assert refused.value.code == 2
    assert "score-local" in capsys.readouterr().err
