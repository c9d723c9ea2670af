"""Run folders: whole or not there, the same again or refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilora.errors import RunError
from distilora.files import write_whole
from distilora.runs import (
    claim_experiment,
    claim_run,
    complete_run,
    load_experiment,
    locked,
    partial_folder,
    read_logits,
    read_run,
    run_folder,
    with_labels,
)
from report_cases import run

CONFIG: dict[str, Any] = {"seed": 0, "method": {"name": "odd", "training": {"epochs": 5, "threads": None}}}


def make(experiment: Path, method: str = "odd", *, seed: int = 0, void: str | None = None) -> Path:
    """Return the folder of a complete run, made here."""
    record = run(method, seed=seed, void=void)
    labels = record.test_labels if record.test_labels is not None else np.array([0])
    logits = None if void else with_labels({"test": np.eye(3)[record.test_predictions]}, _parts(labels))
    partial = claim_run(experiment, method, seed, {"seed": seed})
    assert partial is not None
    complete_run(
        partial, run_folder(experiment, method, seed), result=record.result, history=record.history, logits=logits
    )
    return run_folder(experiment, method, seed)


def _parts(labels: np.ndarray[Any, np.dtype[np.int64]]) -> dict[Any, Any]:
    return {"train": labels, "validation": labels, "test": labels}


def test_a_complete_run_comes_back_as_it_went(tmp_path: Path) -> None:
    made, came = run("odd"), read_run(make(tmp_path))
    assert came.result == made.result
    assert came.history == made.history
    assert came.test_labels is not None
    np.testing.assert_array_equal(came.test_labels, made.test_labels)
    np.testing.assert_array_equal(came.test_predictions, made.test_predictions)
    assert set(read_logits(came.folder)) == {"test", "validation_labels", "test_labels"}


def test_a_void_run_has_no_scores(tmp_path: Path) -> None:
    record = read_run(make(tmp_path, void="predictions vary: no"))
    assert record.result.void == "predictions vary: no"
    assert (record.result.test, record.test_labels, record.test_predictions) == (None, None, None)


def test_runs_are_listed_by_method_and_seed_and_those_under_way_are_not(tmp_path: Path) -> None:
    for method, seed in (("odd", 10), ("odd", 2), ("even", 0)):
        make(tmp_path, method, seed=seed)
    claim_run(tmp_path, "lora", 0, CONFIG)
    assert [(one.result.method, one.result.seed) for one in load_experiment(tmp_path)] == [
        ("even", 0),
        ("odd", 2),
        ("odd", 10),
    ]
    with pytest.raises(RunError, match="holds no complete run; distilora compare"):
        load_experiment(tmp_path / "lora")


@pytest.mark.parametrize("file", ["result.json", "history.jsonl", "logits.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_run_is_told_in_one_line(file: str, damage: str, tmp_path: Path) -> None:
    path = make(tmp_path) / file
    content = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    with pytest.raises(RunError) as caught:
        read_run(path.parent)
    assert str(path.parent) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_result_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path) / "result.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(RunError, match="not a run that this version can read"):
        read_run(path.parent)


def test_a_run_is_claimed_once_gone_on_with_and_then_complete(tmp_path: Path) -> None:
    partial = claim_run(tmp_path, "odd", 0, CONFIG)
    assert partial == partial_folder(tmp_path, "odd", 0)
    (partial / "something").write_text("made before the break")
    assert claim_run(tmp_path, "odd", 0, CONFIG) == partial
    assert (partial / "something").exists()
    complete_run(partial, run_folder(tmp_path, "odd", 0), result=run("odd").result)
    assert claim_run(tmp_path, "odd", 0, CONFIG) is None
    assert not partial.exists()


@pytest.mark.parametrize("complete", [False, True], ids=["under way", "complete"])
def test_a_run_with_other_settings_is_refused_with_the_setting(complete: bool, tmp_path: Path) -> None:
    partial = claim_run(tmp_path, "odd", 0, CONFIG)
    assert partial is not None
    if complete:
        complete_run(partial, run_folder(tmp_path, "odd", 0), result=run("odd").result)
    changed = {"seed": 0, "method": {"name": "odd", "training": {"epochs": 6, "threads": None}}}
    with pytest.raises(RunError, match=r"was made with method.training.epochs = 5, now it is 6; give another --out"):
        claim_run(tmp_path, "odd", 0, changed)
    changed["method"]["training"] = {"epochs": 5, "threads": 2}  # type: ignore[index]
    with pytest.raises(RunError, match=r"method.training.threads = nothing, now it is 2"):
        claim_run(tmp_path, "odd", 0, changed)


def test_an_experiment_s_folder_holds_that_experiment_only(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    identity = {"data": {"sha256": "aa", "label_names": {"0": "civil"}}, "encoder": {"max_length": 64}}
    claim_experiment(folder, identity)
    claim_experiment(folder, identity)
    with pytest.raises(RunError, match=r"was made with encoder.max_length = 64, now it is 32"):
        claim_experiment(folder, {**identity, "encoder": {"max_length": 32}})
    (folder / "experiment.toml").write_text("[data")
    with pytest.raises(RunError, match=r"experiment.toml: not readable: .*; give another --out"):
        claim_experiment(folder, identity)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("my work")
    with pytest.raises(RunError, match=r"holds thesis.txt and no experiment; give --out a new folder"):
        claim_experiment(tmp_path, {"data": {}})
    with pytest.raises(RunError, match="cannot write there"), locked(tmp_path / "thesis.txt"):
        pass


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file.txt"
    write_whole(path, "old")
    with path.open() as reader:
        write_whole(path, "newer")
        assert reader.read() == "old"
    assert path.read_text() == "newer"
    assert list(path.parent.iterdir()) == [path]


def test_another_process_is_kept_out_while_one_is_at_work_even_one_that_died(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from distilora.runs import locked
with locked(Path(sys.argv[1])):
    print("at work", flush=True)
    sys.stdin.read()
"""
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "at work\n"
        with pytest.raises(RunError, match="another distilora is at work there"), locked(tmp_path):
            pass
        other.kill()
    with locked(tmp_path):  # the lock died with its process
        pass
