"""Broken off and run again, a training ends as if nothing had happened, to the last bit."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from commands import started
from distilora.config import to_toml
from distilora.errors import RunError
from distilora.experiment.materials import Materials, prepare
from distilora.experiment.runner import run_methods
from distilora.layout import EXPERIMENT_FILE
from distilora.models.weights import weights_hash
from distilora.runs import HISTORY_FILE, checkpoints_folder, partial_folder, read_logits, read_run, run_folder
from distilora.training.checkpoints import SEAL_FILE
from distilora.training.loop import Training, TrainingTask, train_model
from tiny import save_tiny_encoder
from tiny_experiment import tiny_settings
from training_cases import SETTINGS, classifier, scores, task

METHODS = ("teacher", "odd", "odd-lora")


class InOneGo(NamedTuple):
    """An experiment whose runs were made without a break."""

    materials: Materials
    file: Path
    """Of its settings."""
    folder: Path
    """Of its runs."""

    def command(self, out: Path, *more: str) -> list[object]:
        """Return the words of the command that makes its runs anew."""
        return ["compare", self.file, "--out", out, "--no-export", *more]


@pytest.fixture(scope="module")
def in_one_go(tmp_path_factory: pytest.TempPathFactory) -> InOneGo:
    home = tmp_path_factory.mktemp("in-one-go")
    settings = tiny_settings(
        home,
        epochs=4,
        run=METHODS,
        # Dropout draws at random, and seven does not divide the twenty steps of an epoch.
        training={"dropout": 0.1, "logging_steps": 7},
        methods={"odd": {"training": {"epochs": 6}}},
        evidence={"costs": False, "layers": False, "noise_rows": 0},
    )
    file = home / "experiment.toml"
    file.write_text(to_toml(settings.model_dump(exclude_unset=True)), encoding="utf-8")
    materials = prepare(settings)
    run_methods(materials, home / "out")
    return InOneGo(materials, file, home / "out")


@contextmanager
def killed_once_there(path: Path, command: Sequence[object]) -> Iterator[None]:
    """Run a command in a process of its own until ``path`` is there, let the caller look, and kill -9."""
    process = started(command)
    deadline = time.monotonic() + 400
    try:
        while not path.exists():
            assert process.is_alive(), "the experiment ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.0005)
        yield
    finally:
        process.kill()
        process.join()
    assert process.exitcode == -signal.SIGKILL


def test_killed_twice_a_student_ends_in_the_same_bits(
    in_one_go: InOneGo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints, command = checkpoints_folder(tmp_path, "odd", 0), in_one_go.command(tmp_path)
    with (
        killed_once_there(checkpoints / "checkpoint-20" / SEAL_FILE, command),
        pytest.raises(RunError, match="another distilora is at work there"),
    ):
        run_methods(in_one_go.materials, tmp_path)
    # The seal is the last file of a checkpoint to be written, the weights are the first.
    with killed_once_there(checkpoints / "checkpoint-100" / "model.safetensors", command):
        pass
    assert not run_folder(tmp_path, "odd", 0).exists()
    with caplog.at_level("INFO", logger="distilora.training.loop"):
        run_methods(in_one_go.materials, tmp_path)
    assert "odd seed 0: going on from checkpoint-" in caplog.text
    assert_same_runs(in_one_go.folder, tmp_path)
    assert not partial_folder(tmp_path, "odd", 0).exists()


def assert_same_runs(one: Path, other: Path) -> None:
    """Assert that the runs of two experiments are the same."""
    for method in METHODS:
        assert_same_run(*(run_folder(experiment, method, 0) for experiment in (one, other)))


def assert_same_run(one: Path, other: Path) -> None:
    """Assert that two runs are the same in every bit, their clocks and memory apart."""
    np.testing.assert_equal(read_logits(one), read_logits(other))
    first, second = (read_run(folder) for folder in (one, other))
    assert first.history == second.history
    assert (one / HISTORY_FILE).read_bytes() == (other / HISTORY_FILE).read_bytes()
    measured = {"training_seconds", "training_memory_mib"}
    unmeasured = [run.result.model_dump(exclude=measured) for run in (first, second)]
    assert unmeasured[0] == unmeasured[1]
    weights = [next((folder / "model").glob("*.safetensors")).read_bytes() for folder in (one, other)]
    assert weights[0] == weights[1]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def undisturbed(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Training]:
    """Return the weights' hash and the record of a training of five epochs in one go."""
    return trained(encoder, five_epochs(tmp_path_factory.mktemp("undisturbed")))


def five_epochs(folder: Path) -> TrainingTask:
    return task(folder, SETTINGS.model_copy(update={"epochs": 5, "patience": 4}))


def trained(encoder: Path, work: TrainingTask) -> tuple[str, Training]:
    model = classifier(encoder, dropout=0.1)
    training = train_model(model, work, scores=scores)
    return weights_hash(model), training


def break_off(encoder: Path, work: TrainingTask, *, at_evaluation: int) -> None:
    """Train until the validation rows are scored for the given time, which is before that epoch's checkpoint."""
    seen = iter(range(1, at_evaluation))

    def interrupt(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
        if next(seen, None) is None:
            raise KeyboardInterrupt
        return scores(logits, labels)

    with pytest.raises(KeyboardInterrupt):
        train_model(classifier(encoder, dropout=0.1), work, scores=interrupt)


def without_times(log: tuple[dict[str, Any], ...]) -> list[dict[str, Any]]:
    """Return the log less what the trainer measures with a clock."""
    return [
        {key: value for key, value in entry.items() if not key.endswith(("_runtime", "_per_second"))}
        for entry in log
        if "train_runtime" not in entry
    ]


@pytest.mark.parametrize("at_evaluation", [1, 2, 5])
def test_a_training_that_was_interrupted_goes_on_to_the_same_bits(
    at_evaluation: int, encoder: Path, undisturbed: tuple[str, Training], tmp_path: Path
) -> None:
    break_off(encoder, five_epochs(tmp_path), at_evaluation=at_evaluation)
    weights, training = trained(encoder, five_epochs(tmp_path))
    assert weights == undisturbed[0]
    assert training.seconds > 0
    assert (training.epochs, training.best_epoch) == (undisturbed[1].epochs, undisturbed[1].best_epoch)
    assert without_times(training.log) == without_times(undisturbed[1].log)


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_checkpoint_without_its_whole_state_is_passed_over(
    damage: str, encoder: Path, undisturbed: tuple[str, Training], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    break_off(encoder, five_epochs(tmp_path), at_evaluation=3)
    # The next one, broken off while it was written: older ones are deleted only when it is whole.
    shutil.copytree(tmp_path / "checkpoint-14", tmp_path / "checkpoint-21")
    state = tmp_path / "checkpoint-21" / "trainer_state.json"
    content = state.read_bytes()
    state.unlink()
    if damage == "cut":
        state.write_bytes(content[: len(content) // 2])
    with caplog.at_level("INFO", logger="distilora.training.loop"):
        assert trained(encoder, five_epochs(tmp_path))[0] == undisturbed[0]
    assert "going on from checkpoint-14\n" in caplog.text


def test_where_no_checkpoint_is_whole_it_starts_over(
    encoder: Path, undisturbed: tuple[str, Training], tmp_path: Path
) -> None:
    break_off(encoder, five_epochs(tmp_path), at_evaluation=3)
    for state in tmp_path.glob("*/trainer_state.json"):
        state.write_text("{")
    assert trained(encoder, five_epochs(tmp_path))[0] == undisturbed[0]


def test_checkpoints_of_a_folder_that_was_moved_are_not_trusted(
    encoder: Path, undisturbed: tuple[str, Training], tmp_path: Path
) -> None:
    break_off(encoder, five_epochs(tmp_path / "before"), at_evaluation=4)
    shutil.move(tmp_path / "before", tmp_path / "after")
    assert trained(encoder, five_epochs(tmp_path / "after"))[0] == undisturbed[0]


def test_patience_goes_on_where_it_was(encoder: Path, tmp_path: Path) -> None:
    work = task(tmp_path, SETTINGS.model_copy(update={"epochs": 5, "patience": 2}))
    told: list[float | None] = [0.5, 0.4, None, 0.4, 0.9]

    def pretend(*_: object) -> dict[str, float]:
        score = told.pop(0)
        if score is None:
            raise KeyboardInterrupt
        return {"macro_f1": score}

    with pytest.raises(KeyboardInterrupt):
        train_model(classifier(encoder), work, scores=pretend)
    training = train_model(classifier(encoder), work, scores=pretend)
    assert (training.epochs, training.best_epoch) == (3, 1)


@pytest.mark.parametrize("patience", [0, 2], ids=["all epochs", "stopped early"])
def test_a_training_that_was_done_but_not_completed_trains_no_further(
    patience: int, encoder: Path, tmp_path: Path
) -> None:
    work = task(tmp_path, SETTINGS.model_copy(update={"epochs": 5, "patience": patience}))
    told = iter([0.5, 0.6, 0.4, 0.3, 0.9])
    hashes, trainings = [], []
    for _ in range(2):
        model = classifier(encoder, dropout=0.1)
        trainings.append(train_model(model, work, scores=lambda *_: {"macro_f1": next(told)}))
        hashes.append(weights_hash(model))
    assert hashes[0] == hashes[1]
    assert trainings[0].epochs == (4 if patience else 5)
    assert trainings[0].best_epoch == (2 if patience else 5)
    assert (trainings[1].epochs, trainings[1].best_epoch) == (trainings[0].epochs, trainings[0].best_epoch)
    assert trainings[1].seconds == pytest.approx(trainings[0].seconds)


@pytest.mark.parametrize(("engine", "seconds"), [("local", 3), ("ray", 15)])  # of which Ray needs some to begin
def test_killed_at_random_moments_an_experiment_ends_in_the_same_bits(
    engine: str, seconds: float, in_one_go: InOneGo, tmp_path: Path
) -> None:
    if engine == "ray" and find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install 'distilora[ray]'")
    folder = tmp_path / "killed"
    command = in_one_go.command(folder, "--engine", engine)
    draw, kills = random.Random(7), 0  # noqa: S311
    while kills < 3:
        kills += killed_in_the_middle(command, folder, after=draw.uniform(0, seconds))
        if (folder / METHODS[-1] / "seed-0").exists():  # it was quicker than that
            shutil.rmtree(folder)
    process = started(command)
    process.join(timeout=400)
    process.kill()  # where it hangs
    assert process.exitcode == 0
    assert_same_runs(in_one_go.folder, folder)


def killed_in_the_middle(command: Sequence[object], folder: Path, *, after: float) -> bool:
    """Return whether the command was still running, that many seconds after it began to write, when it was killed."""
    process = started(command)
    deadline = time.monotonic() + 400
    while process.is_alive() and not (folder / EXPERIMENT_FILE).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.join(timeout=after)
    process.kill()
    process.join()
    assert process.exitcode in {0, -signal.SIGKILL}
    return process.exitcode == -signal.SIGKILL
