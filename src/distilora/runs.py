"""Run folders: one method with one seed, written whole or not at all.

``EXPERIMENT/experiment.toml`` says what is compared; ``EXPERIMENT/METHOD/seed-N`` holds

* ``config.toml``: the settings that held,
* ``history.jsonl``: one :class:`HistoryEntry` a line,
* ``result.json``: one :class:`Result`,
* ``logits.safetensors``: ``validation`` and ``test`` logits, shape (rows, labels), with ``validation_labels`` and
  ``test_labels``, shape (rows,); a teacher's also has ``train``,
* ``model/``: the trained model with its tokenizer (for LoRA: the adapter; an ensemble has none),
* ``layer-search.json``: of a student whose layers were searched, how
  (:class:`distilora.models.search_records.LayerSearch`).

While a run is under way its folder is called ``.seed-N.partial`` and ``.seed-N.checkpoints`` stands beside it.
"""

from __future__ import annotations

import fcntl
import hashlib
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from safetensors.numpy import load_file, save_file

from distilora.config import to_toml
from distilora.data.faults import first_line
from distilora.data.records import Part
from distilora.errors import RunError
from distilora.evaluation.records import Evaluation
from distilora.files import write_whole
from distilora.layout import EXPERIMENT_FILE
from distilora.records import Record
from distilora.training.records import Event

CONFIG_FILE = "config.toml"
HISTORY_FILE = "history.jsonl"
LOGITS_FILE = "logits.safetensors"
MODEL_FOLDER = "model"
RESULT_FILE = "result.json"
_LOCK_FILE = ".lock"


RunKind = Literal["baseline", "teacher", "student", "lora", "ensemble"]
"""What a run's model is: whole, of some layers, an adapter on something else, or several models averaged."""


class DataIdentity(Record):
    """Which comments a run saw."""

    source: str
    sha256: str
    rows: int
    label_names: tuple[str, ...]
    positive: tuple[str, ...]
    split_seed: int
    part_rows: dict[Part, int]


class EncoderIdentity(Record):
    """Which pretrained model a run started from."""

    name: str
    sha256: str
    """Hash of the weight file."""
    max_length: int


class Result(Record):
    """Everything that is told about one run."""

    format: Literal[1] = 1
    method: str
    kind: RunKind
    seed: int
    void: str | None = None
    """Why the run's numbers would mean nothing; then no scores are kept."""
    data: DataIdentity
    encoder: EncoderIdentity | None = None
    """Absent for baselines."""
    layers: tuple[int, ...] | None = None
    """The layers, from 1, that are kept of what the model started from; absent where all are."""
    start: str | None = None
    """The method whose trained model of the same seed an adapter stands on; absent: the encoder."""
    start_sha256: str | None = None
    """:func:`run_sha256` of that run."""
    members: tuple[str, ...] = ()
    """The methods whose probabilities an ensemble averages, each of the same seed."""
    parameters: int | None = None
    """All parameters needed to run the model; absent for the majority baseline."""
    trainable_parameters: int | None = None
    size_bytes: int | None = None
    """Weights that must be stored to run the model (LoRA: encoder and adapter)."""
    training_seconds: float | None = None
    """The training loop alone, evaluations left out; resumed runs: the sum."""
    training_memory_mib: float | None = None
    """The most memory held meanwhile, all that the process holds included (on a GPU: allocated there)."""
    epochs: int | None = None
    """Epochs that were run."""
    best_epoch: int | None = None
    """The epoch whose model was kept: best validation macro-F1."""
    guards: tuple[str, ...] = ()
    """Names of the guards that were passed."""
    events: tuple[Event, ...] = ()
    """What the monitor saw during training, in order."""
    validation: Evaluation | None = None
    test: Evaluation | None = None
    versions: dict[str, str]
    """Version of distilora and of each library that decides numbers."""
    machine: str
    """Processor, threads, device and precision, in words."""


class HistoryEntry(Record):
    """One line of a run's history: a stretch of training steps, or one evaluation on validation rows."""

    part: Literal["train", "validation"]
    step: int
    epoch: float
    losses: dict[str, float]
    """Mean of each loss term by name (``hard``, ``soft``, …, unweighted) and their weighted sum ``total``."""
    weights: dict[str, float] = Field({})
    """What each term was multiplied by, on average; where the weights do not adapt, the settings' own."""
    pair_weights: tuple[float, ...] = ()
    """How much each of the model's layers counts in the terms that look inside, from layer 1 on; they average 1."""
    layer_macro_f1: tuple[float, ...] = ()
    """Of validation entries of joint training: the macro-F1 that the model has after each of its layers."""
    rank: float | None = None
    """Of the adapters, on average."""
    learning_rate: float | None = None
    accuracy: float | None = None
    macro_f1: float | None = None


@dataclass(frozen=True, eq=False)
class RunRecord:
    """A complete run, as read from its folder."""

    result: Result
    history: tuple[HistoryEntry, ...]
    test_labels: NDArray[np.int64] | None
    """True class of each test row, shape (rows,); absent for a void run."""
    test_predictions: NDArray[np.int64] | None
    """Predicted class of each test row, shape (rows,); absent for a void run."""
    folder: Path
    test_logits: NDArray[np.float32] | None = None
    """Scores before softmax of each test row, shape (rows, classes); absent for a void run."""
    validation_labels: NDArray[np.int64] | None = None
    """True class of each validation row, shape (rows,); absent for a void run."""
    validation_logits: NDArray[np.float32] | None = None
    """Scores before softmax of each validation row, shape (rows, classes); absent for a void run."""


def run_folder(experiment: Path, method: str, seed: int) -> Path:
    """Return where a complete run stands."""
    return experiment / method / f"seed-{seed}"


def partial_folder(experiment: Path, method: str, seed: int) -> Path:
    """Return where a run stands while it is under way."""
    return experiment / method / f".seed-{seed}.partial"


def checkpoints_folder(experiment: Path, method: str, seed: int) -> Path:
    """Return where the checkpoints of a run stand while it is under way: apart, so that they are never part of it."""
    return experiment / method / f".seed-{seed}.checkpoints"


def run_sha256(folder: Path) -> str:
    """Return a hash of what a complete run's model says; all void runs have the same."""
    path = folder / LOGITS_FILE
    return hashlib.sha256(path.read_bytes() if path.exists() else b"void").hexdigest()


def complete_run(
    partial: Path,
    final: Path,
    *,
    result: Result,
    history: Sequence[HistoryEntry] = (),
    logits: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Write what is known of a run beside its model and put the folder in its place, all at once."""
    partial.mkdir(parents=True, exist_ok=True)
    write_whole(partial / HISTORY_FILE, "".join(entry.model_dump_json() + "\n" for entry in history))
    write_whole(partial / RESULT_FILE, result.model_dump_json(indent=1) + "\n")
    if logits is not None:
        save_file({name: np.ascontiguousarray(array) for name, array in logits.items()}, partial / LOGITS_FILE)
    partial.rename(final)


def with_labels(
    logits: Mapping[str, NDArray[Any]], labels: Mapping[Part, NDArray[np.int64]]
) -> dict[str, NDArray[Any]]:
    """Return logits by part with the true classes of validation and test beside them, as a run stores them."""
    return {**logits, "validation_labels": labels["validation"], "test_labels": labels["test"]}


def read_run(folder: Path) -> RunRecord:
    """Return a complete run.

    Raises:
        RunError: a file is missing, damaged, or of a newer format.
    """
    try:
        result = Result.model_validate_json((folder / RESULT_FILE).read_bytes())
        lines = (folder / HISTORY_FILE).read_text(encoding="utf-8").splitlines()
        history = tuple(HistoryEntry.model_validate_json(line) for line in lines)
        logits = read_logits(folder) if result.test is not None else None
    except (OSError, ValidationError, UnicodeDecodeError) as error:
        raise RunError(f"{folder}: not a run that this version can read: {first_line(error)}") from None
    return RunRecord(
        result=result,
        history=history,
        test_labels=None if logits is None else logits["test_labels"],
        test_predictions=None if logits is None else logits["test"].argmax(axis=1),
        folder=folder,
        test_logits=None if logits is None else logits["test"],
        validation_labels=None if logits is None else logits.get("validation_labels"),
        validation_logits=None if logits is None else logits.get("validation"),
    )


def read_logits(folder: Path) -> dict[str, NDArray[Any]]:
    """Return the stored logits and labels of a complete run, by part.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        return dict(load_file(folder / LOGITS_FILE))
    except Exception as error:  # safetensors raises its own and the operating system's
        raise RunError(
            f"{folder / LOGITS_FILE}: not readable: {first_line(error)}; delete {folder} and run again"
        ) from None


def load_experiment(folder: Path) -> list[RunRecord]:
    """Return every complete run of an experiment, by method and seed.

    Raises:
        RunError: the folder holds no complete run, or one that cannot be read.
    """
    runs = [read_run(path.parent) for path in sorted(folder.glob(f"*/seed-*/{RESULT_FILE}"))]
    if not runs:
        raise RunError(f"{folder}: holds no complete run; distilora compare --out {folder} makes them")
    return sorted(runs, key=lambda run: (run.result.method, run.result.seed))


def claim_run(experiment: Path, method: str, seed: int, config: Mapping[str, Any]) -> Path | None:
    """Return the folder to make a run in, or nothing where the run is already complete.

    Raises:
        RunError: the run is there or under way with other settings.
    """
    final, partial = run_folder(experiment, method, seed), partial_folder(experiment, method, seed)
    for folder in (final, partial):
        if (folder / CONFIG_FILE).exists():
            _require_same(folder / CONFIG_FILE, config)
    if final.exists():
        return None
    write_whole(partial / CONFIG_FILE, to_toml(config))
    return partial


def claim_experiment(folder: Path, identity: Mapping[str, Any]) -> None:
    """Make an experiment's folder, or see that it holds this same experiment.

    Args:
        folder: of the experiment.
        identity: the tables that all its runs have in common.

    Raises:
        RunError: the folder holds another experiment or something else.
    """
    path = folder / EXPERIMENT_FILE
    if path.exists():
        _require_same(path, identity)
        return
    own = {_LOCK_FILE, f".{EXPERIMENT_FILE}.partial"}  # the latter where we were killed in the middle of writing it
    strangers = [entry.name for entry in folder.iterdir() if entry.name not in own] if folder.is_dir() else []
    if strangers:
        raise RunError(f"{folder}: holds {strangers[0]} and no experiment; give --out a new folder")
    write_whole(path, to_toml(identity))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from working on the same experiment meanwhile.

    Raises:
        RunError: another process is at work there, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / _LOCK_FILE).open("w")
    except OSError as error:
        raise RunError(f"{folder}: cannot write there: {error.strerror}; give --out a folder of yours") from None
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(f"{folder}: another distilora is at work there; wait for it or give another --out") from None
        yield


@contextmanager
def held_run(experiment: Path, method: str, seed: int, *, patience_seconds: float = 600.0) -> Iterator[None]:
    """Keep other processes from making the same run meanwhile; one that is still at work is waited for.

    On Ray it may be what is left of a command that was killed: it ends soon after, but not at once.

    Raises:
        RunError: it is still at work when patience is over.
    """
    path = experiment / method / f".seed-{seed}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience_seconds
    with path.open("w") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise RunError(f"{path}: another process still makes this run; end it, or wait for it") from None
                time.sleep(0.2)
        yield


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return all values of a table and of the tables in it by their dotted names.

    Example:
        >>> flat({"seeds": [0], "training": {"epochs": 3}})
        {'seeds': [0], 'training.epochs': 3}
    """
    found: dict[str, Any] = {}
    for key, value in table.items():
        found.update(flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return found


def _require_same(path: Path, wanted: Mapping[str, Any]) -> None:
    """Raise one line that names the first setting that differs from those in the file."""
    try:
        there = flat(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RunError(f"{path}: not readable: {first_line(error)}; give another --out") from None
    now = flat(tomllib.loads(to_toml(wanted)))
    for key in sorted({*there, *now}):
        if there.get(key) != now.get(key):
            raise RunError(
                f"{path.parent} was made with {key} = {_shown(there.get(key))}, now it is {_shown(now.get(key))}; "
                "give another --out, or the changed method another name"
            )


def _shown(value: object) -> str:
    return "nothing" if value is None else repr(value)
