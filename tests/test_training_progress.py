"""How far trainings are, where there is no terminal to draw a bar on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast

import pytest

from distilora.experiment.run_progress import RunProgress
from distilora.runs import RunRecord, checkpoints_folder, run_folder
from distilora.training.progress import TrainingProgress, last_told

STEPS = 1000


@dataclass
class _State:
    """What of ``transformers.TrainerState`` is looked at."""

    global_step: int = 0
    max_steps: int = STEPS
    is_world_process_zero: bool = True


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what goes on with a training whose steps take ten seconds each, up to a step."""
    clock = {"now": 0.0}
    monkeypatch.setattr(time, "monotonic", lambda: clock["now"])

    def run(progress: TrainingProgress, state: _State, *, until: int) -> None:
        progress.on_train_begin(None, state, None)
        while state.global_step < until:
            clock["now"] += 10.0
            state.global_step += 1
            progress.on_step_end(None, state, None)

    return run


def test_a_log_file_gets_a_line_soon_and_then_ever_fewer_but_one_in_five_minutes(train, tmp_path, capsys):
    progress = TrainingProgress("teacher seed 0", tmp_path)
    progress.on_log(None, None, None, logs={"loss": 0.61239, "epoch": 0.1})
    train(progress, _State(), until=111)
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(" of ")[0] for line in told] == [
        f"teacher seed 0: step {step}" for step in (3, 6, 12, 24, 48, 78, 108)
    ]
    assert told[0] == "teacher seed 0: step 3 of 1,000, loss 0.612; about 2.8 h left"
    assert last_told(tmp_path) == (told[-1], 0.108)


def test_the_time_left_is_judged_by_the_steps_of_this_process(train, tmp_path, capsys):
    progress = TrainingProgress("teacher seed 0", tmp_path)
    train(progress, _State(global_step=990), until=994)
    assert capsys.readouterr().err == "teacher seed 0: step 993 of 1,000; about 1 min left\n"


def test_nothing_is_left_of_the_line_when_the_training_has_ended(train, tmp_path):
    progress = TrainingProgress("teacher seed 0", tmp_path)
    train(progress, _State(), until=3)
    assert last_told(tmp_path) is not None
    progress.close()
    assert list(tmp_path.iterdir()) == []


def test_of_several_processes_the_main_one_alone_tells(train, tmp_path, capsys):
    train(TrainingProgress("teacher seed 0", tmp_path), _State(is_world_process_zero=False), until=100)
    assert last_told(tmp_path) is None
    assert not capsys.readouterr().err


def test_what_other_processes_say_is_told_once_and_nothing_that_a_killed_one_left(train, tmp_path):
    runs = [("teacher", 0), ("lora", 0)]
    checkpoints = [checkpoints_folder(tmp_path, *run) for run in runs]
    train(TrainingProgress("teacher seed 0", checkpoints[0]), _State(), until=3)  # killed
    told: list[str] = []
    progress = RunProgress(tmp_path, runs, tell=told.append)
    progress.look()
    assert told == []
    for name, folder in zip(("teacher", "lora"), checkpoints, strict=True):
        train(TrainingProgress(f"{name} seed 0", folder), _State(global_step=500), until=503)
    progress.look()
    progress.look()
    assert [line.partition(" of ")[0] for line in told] == ["teacher seed 0: step 503", "lora seed 0: step 503"]


def test_the_time_left_counts_what_others_have_done_of_the_runs_under_way(train, tmp_path):
    runs = [(name, 0) for name in ("teacher", "lora", "odd", "even")]
    told: list[str] = []
    progress = RunProgress(tmp_path, runs, tell=told.append)
    train(TrainingProgress("lora seed 0", checkpoints_folder(tmp_path, "lora", 0)), _State(), until=503)  # told at 498
    progress.complete(_record("teacher"))
    # 5,030 seconds made 1.498 runs, and 2.502 are left
    assert told == ["1/4 teacher seed 0: void, nothing learnt; about 2.3 h left"]


def test_what_was_done_before_makes_no_time_left_shorter(train, tmp_path):
    runs = [(name, 0) for name in ("teacher", "lora", "odd", "even")]
    run_folder(tmp_path, "teacher", 0).mkdir(parents=True)
    lora = TrainingProgress("lora seed 0", checkpoints_folder(tmp_path, "lora", 0))
    train(lora, _State(global_step=900), until=903)  # killed
    told: list[str] = []
    progress = RunProgress(tmp_path, runs, tell=told.append)
    train(lora, _State(global_step=900), until=901)  # ten seconds until Ray has begun
    progress.complete(_record("teacher"))
    train(lora, _State(global_step=901), until=961)
    progress.complete(_record("odd"))
    assert [line.rpartition("nothing learnt")[2] for line in told] == ["", "; about 19 min left"]


def test_a_run_that_was_half_done_before_counts_as_half_of_one(train, tmp_path):
    runs = [(name, 0) for name in ("teacher", "odd", "even")]
    teacher = TrainingProgress("teacher seed 0", checkpoints_folder(tmp_path, "teacher", 0))
    train(teacher, _State(global_step=500), until=503)  # killed after half of 1,000 steps
    told: list[str] = []
    progress = RunProgress(tmp_path, runs, tell=told.append)
    train(teacher, _State(global_step=500), until=560)
    progress.complete(_record("teacher"))
    assert told == ["1/3 teacher seed 0: void, nothing learnt; about 40 min left"]  # 600 s made half a run


def _record(method: str) -> RunRecord:
    return cast("RunRecord", SimpleNamespace(result=SimpleNamespace(method=method, seed=0, void="nothing learnt")))
