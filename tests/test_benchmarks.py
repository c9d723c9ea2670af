"""What in the scripts of the benchmarks would cost hours if it went wrong unseen."""

from __future__ import annotations

import runpy
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest

from distilora.config import read_experiment
from distilora.evaluation.significance import PairTest
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


@pytest.mark.parametrize(
    ("value", "p", "chance", "beats", "better", "worse"),
    [
        (0.03, 0.0003, "< 0.001", "beats `odd`", "`even`", "none"),
        (0.03, 0.06, "= 0.060", "is not shown to beat `odd`", "none", "none"),
        (-0.03, 0.01, "= 0.010", "is not shown to beat `odd`", "none", "`even`"),
    ],
)
def test_a_student_beats_the_plain_one_only_where_the_test_rows_show_it(
    monkeypatch: pytest.MonkeyPatch, *, value: float, p: float, chance: str, beats: str, better: str, worse: str
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    script = runpy.run_path(str(BENCHMARKS / "methods.py"))
    test = PairTest(
        first="even", second="odd", value=value, low=value - 0.01, high=value + 0.01, p=p, p_holm=p, mcnemar=()
    )
    rows = {
        name: SimpleNamespace(method=name, layers=(1,), validation_macro_f1=SimpleNamespace(mean=score), void=void)
        for name, score, void in (("odd", 0.7, ()), ("even", 0.8, ()), ("last", 0.9, ("seed 1 collapsed",)))
    }
    best = script["_best_student"](rows, {"even": test})
    verdicts = {"odd": None, "even": test.model_dump()}
    rest = {"kind": "student", "best_epochs": [], "missed_classes": {}}
    methods = [{"method": name, "to_odd": to_odd, **rest} for name, to_odd in verdicts.items()]
    said = script["conclusions"]({"best_student": best, "methods": methods})
    assert f"Of the models of half the depth, `even` is best on validation rows; it {beats} on test rows: " in said
    shown, low, high = (f"{100 * end:+.1f}".replace("-", "−") for end in (test.value, test.low, test.high))
    assert f" {shown} points (95 % interval {low} to {high}; p {chance} after Holm's correction)." in said
    assert script["_against"](verdicts["even"]) == f"{shown} ({low} to {high}; {chance.removeprefix('= ')})"
    assert f"Shown to be better than `odd` on test rows: {better}. Shown to be worse, so losers here: {worse}." in said


def test_the_table_of_methods_tells_what_each_needs_and_which_could_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    script = runpy.run_path(str(BENCHMARKS / "methods.py"))
    settings = read_experiment(changes={"run": "odd-lora,odd+odd-lora", "seeds": "0,1"})
    seconds = {"teacher": 400.0, "odd": 200.0, "odd-lora": 100.0, "odd+odd-lora": 300.0}
    rows = {
        name: SimpleNamespace(is_baseline=False, training_seconds=of_it, kind="student", layers=None, seeds=(0, 1))
        for name, of_it in seconds.items()
    }
    records = [
        SimpleNamespace(result=SimpleNamespace(method=name, seed=seed, best_epoch=best))
        for name, found in (("odd", (3, 5)), ("odd-lora", (3, 3)))
        for seed, best in enumerate(found)
    ]
    scored = {"validation_macro_f1": 0.7, "macro_f1": {"mean": 0.7, "interval": None}, "to_odd": None, "void": []}
    scored |= {"seeds": 2, "size_mb": None, "precision": None, "latency_64_tokens_p50_ms": None}
    scored |= {"kind": "student", "missed_classes": {}}
    methods = [{"method": name, **scored, **script["_training"](name, records, rows, settings)} for name in seconds]
    methods[2]["missed_classes"] = {"1": ["hate", "threat"]}
    cells = [
        [cell.strip() for cell in line.split("|")[6:8]]
        for line in script["table"]({"methods": methods}).splitlines()[1:]
    ]
    assert cells[1:] == [
        ["", "400 s"],
        ["3, 5 of 5", "200 s (600 s)"],
        ["3, 3 of 3", "100 s (700 s)"],
        ["", "300 s (700 s)"],
    ]
    said = script["conclusions"]({"best_student": None, "methods": methods})
    assert "With every seed best after the last epoch, so more epochs may bring more: `odd-lora`.\n" in said
    assert said.endswith("Not one test row of a class was recognised by `odd-lora` with seed 1 (hate, threat).\n")
    half_void = {**methods[1], "void": ["seed 1: collapsed"]}
    assert "| .700; void: seed 1: collapsed |" in script["_line"](half_void)


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
