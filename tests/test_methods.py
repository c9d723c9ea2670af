"""What every method promises, tested once over all of them: on tiny encoders, in seconds."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from transformers import BertForSequenceClassification

from distilora import guards
from distilora.config import PRESETS, TEACHER, ExperimentSettings
from distilora.data.tokens import EncodedTexts, chosen_texts
from distilora.experiment import candidates, fitting, teachers, training_runs
from distilora.experiment.materials import Materials, prepare
from distilora.experiment.runner import make_run
from distilora.models import inference, layer_search
from distilora.models.inference import compute_logits
from distilora.models.layer_search import search_layers
from distilora.models.rank import grow_rank
from distilora.models.search_records import LayerSearch
from distilora.models.weights import parameter_counts
from distilora.runs import MODEL_FOLDER, RunRecord, read_logits, read_run, run_folder
from distilora.training.checkpoints import CheckpointSeal
from distilora.training.loop import Training, TrainingTask
from distilora.training.records import Event
from tiny_experiment import comments, tiny_settings

ENSEMBLE = "odd+even"
METHODS = (*PRESETS, ENSEMBLE)
TRAINED = tuple(PRESETS)
SEEN = Event(step=3, epoch=1.0, kind="plateau", value=3.0, message="no gain on validation", action="warn")


@pytest.fixture(scope="module")
def materials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Materials]:
    folder = tmp_path_factory.mktemp("methods")
    (folder / "more.txt").write_text("\n".join(text for text, _ in comments(rows=24, seed=9)))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield prepare(contract_settings(folder))
    torch.set_num_threads(threads)


def contract_settings(folder: Path) -> ExperimentSettings:
    """Return settings under which every method learns in twenty-odd steps; all that draws at random is on."""
    adapted = {name: {"training": {"learning_rate": 1e-2}} for name in PRESETS if is_adapted(name)}
    return tiny_settings(
        folder,
        run=METHODS,
        data={"source": str(folder / "comments.csv"), "unlabelled": str(folder / "more.txt")},
        training={"epochs": 3, "batch_size": 16, "dropout": 0.05, "learning_rate": 4e-3, "logging_steps": 5},
        methods={**adapted, "rslora": {"training": {"learning_rate": 4e-3}}},
    )


def is_adapted(name: str) -> bool:
    return PRESETS[name]["kind"] == "lora"


@pytest.fixture(scope="module")
def undisturbed(materials: Materials, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, RunRecord]]:
    """Return the experiment of every method, made in one go."""
    folder = tmp_path_factory.mktemp("undisturbed")
    records: dict[str, RunRecord] = {}
    for name in materials.settings.method_names:
        records[name] = make_run(name, materials, folder, seed=0, parents=records)
    return folder, records


@pytest.mark.parametrize("name", METHODS)
def test_a_method_learns_and_passes_its_guards(
    name: str, materials: Materials, undisturbed: tuple[Path, dict[str, RunRecord]]
) -> None:
    result = undisturbed[1][name].result
    assert result.void is None
    assert result.validation is not None
    assert result.validation.macro_f1 > materials.majority.macro_f1
    assert guards.VARIED_PREDICTIONS in result.guards
    if name != ENSEMBLE:
        assert {guards.WEIGHTS_CHANGED, guards.SAME_AFTER_RELOAD, guards.TRAINABLE_CLASSIFIER} <= set(result.guards)
        assert (guards.OWN_STORAGE in result.guards) == (materials.settings.method(name).learns_from == "teacher")


@pytest.mark.parametrize("name", METHODS)
def test_killed_in_the_middle_a_method_ends_in_the_same_bits(
    name: str, materials: Materials, undisturbed: tuple[Path, dict[str, RunRecord]], tmp_path: Path
) -> None:
    _, records = undisturbed
    if name != ENSEMBLE:
        assert dies_at_its_second_checkpoint(lambda: make_run(name, materials, tmp_path, seed=0, parents=records))
        assert not run_folder(tmp_path, name, 0).exists()
    again = make_run(name, materials, tmp_path, seed=0, parents=records)
    np.testing.assert_equal(read_logits(again.folder), read_logits(records[name].folder))
    assert again.history == records[name].history
    measured = {"training_seconds", "training_memory_mib", "machine"}
    assert again.result.model_dump(exclude=measured) == records[name].result.model_dump(exclude=measured)


def dies_at_its_second_checkpoint(work: Callable[[], object]) -> bool:
    """Return whether a child process that does the work fell to kill -9 once its second checkpoint was whole."""
    child = os.fork()
    if child == 0:
        saved = CheckpointSeal.on_save
        counted = iter(range(2))

        def save_and_die(self: CheckpointSeal, *arguments: Any, **options: Any) -> None:
            saved(self, *arguments, **options)
            if next(counted) == 1:
                os.kill(os.getpid(), signal.SIGKILL)

        CheckpointSeal.on_save = save_and_die  # type: ignore[method-assign]
        try:
            work()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.parametrize("name", TRAINED)
def test_a_training_that_trains_nothing_makes_a_void_run(
    name: str,
    materials: Materials,
    undisturbed: tuple[Path, dict[str, RunRecord]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fitting, "train_model", pretended(lambda *_: None))
    result = make_run(name, materials, tmp_path, seed=0, parents=undisturbed[1]).result
    assert result.void is not None
    assert result.void.startswith(guards.WEIGHTS_CHANGED)
    assert result.test is None
    assert result.events == (SEEN,)


@pytest.mark.parametrize("name", TRAINED)
def test_a_model_that_says_one_class_makes_a_void_run(
    name: str,
    materials: Materials,
    undisturbed: tuple[Path, dict[str, RunRecord]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fitting, "train_model", pretended(say_one_class))
    record = make_run(name, materials, tmp_path, seed=0, parents=undisturbed[1])
    assert record.result.void is not None
    assert record.result.void.startswith(guards.VARIED_PREDICTIONS)
    assert record.result.events == (SEEN,)
    assert not (record.folder / MODEL_FOLDER).exists()


@pytest.mark.parametrize("name", TRAINED)
def test_a_model_that_was_saved_wrongly_makes_a_void_run(
    name: str,
    materials: Materials,
    undisturbed: tuple[Path, dict[str, RunRecord]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if name != TEACHER:  # which must have learnt something
        monkeypatch.setattr(fitting, "train_model", pretended(say_both_classes))
    monkeypatch.setattr(training_runs, "save_trained", saved_wrongly(training_runs.save_trained))
    result = make_run(name, materials, tmp_path, seed=0, parents=undisturbed[1]).result
    assert result.void is not None
    assert result.void.startswith(guards.SAME_AFTER_RELOAD)
    assert name == TEACHER or result.events == (SEEN,)


@pytest.mark.parametrize("name", [name for name in TRAINED if name in PRESETS and PRESETS[name].get("start")])
def test_a_void_parent_makes_a_void_run(
    name: str, materials: Materials, undisturbed: tuple[Path, dict[str, RunRecord]], tmp_path: Path
) -> None:
    folder, records = undisturbed
    start = str(PRESETS[name]["start"])
    void = records[start].result.model_copy(update={"void": "for a test"})
    broken = {**records, start: read_run(folder / start / "seed-0")}
    object.__setattr__(broken[start], "result", void)
    result = make_run(name, materials, tmp_path, seed=0, parents=broken).result
    assert result.void is not None
    assert "for a test" in result.void


def test_adapters_are_counted_with_the_rank_that_they_have_in_the_end(
    materials: Materials,
    undisturbed: tuple[Path, dict[str, RunRecord]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted: list[tuple[int, int]] = []

    def grow(model: Any, task: TrainingTask) -> None:
        grow_rank(model, 16, seed=0)
        say_both_classes(model, task)
        counted.append(parameter_counts(model))

    monkeypatch.setattr(fitting, "train_model", pretended(grow))
    result = make_run("lora-grow", materials, tmp_path, seed=0, parents=undisturbed[1]).result
    assert result.void is None
    assert [(result.parameters, result.trainable_parameters)] == counted
    rank_8 = undisturbed[1]["lora"].result
    assert (result.trainable_parameters or 0) > (rank_8.trainable_parameters or 0) > 0


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return where models are moved to, as where there is a GPU; in truth each stays where it is."""
    moved: list[str] = []
    to = BertForSequenceClassification.to

    def told(model: Any, *place: Any, **options: Any) -> Any:
        if place and isinstance(place[0], torch.device):
            moved.append(place[0].type)
            return model
        return to(model, *place, **options)

    monkeypatch.setattr(BertForSequenceClassification, "to", told)
    monkeypatch.setattr(inference, "fast_device", lambda: torch.device("cuda"))
    return moved


def test_layers_are_searched_where_and_in_the_precision_in_which_a_training_would_compute(
    materials: Materials,
    undisturbed: tuple[Path, dict[str, RunRecord]],
    moves: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def watched(*arguments: Any, bf16: bool) -> LayerSearch:
        seen.append((bf16, moves[-1]))
        return search_layers(*arguments, bf16=bf16)

    monkeypatch.setattr(layer_search, "search_layers", watched)
    method = materials.settings.method("searched")
    for precision in ("fp32", "bf16"):
        training = method.training.model_copy(update={"precision": precision})
        changed = method.model_copy(update={"training": training})
        candidates.build_candidate(changed, materials, seed=0, parents=undisturbed[1])
    assert seen == [(False, "cuda"), (True, "cuda")]
    assert moves[-1] == "cpu"


def test_a_teacher_answers_where_that_is_soonest_and_is_moved_back(
    materials: Materials,
    undisturbed: tuple[Path, dict[str, RunRecord]],
    moves: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def asked(model: Any, texts: EncodedTexts, *, bf16: bool) -> NDArray[np.float32]:
        moves.append("asked")
        return compute_logits(model, texts, bf16=bf16)

    monkeypatch.setattr(teachers, "shared_logits", asked)
    teacher = teachers.open_teacher(undisturbed[1][TEACHER], materials)
    further = chosen_texts(materials.texts["test"], np.arange(3))
    teacher.logits(further, bf16=False)
    assert moves[-3:] == ["cuda", "asked", "cpu"]
    teacher.logits(further, bf16=False)  # now it is read
    assert moves.count("asked") == 1


def test_two_students_may_store_at_once_what_their_teacher_says(
    materials: Materials, undisturbed: tuple[Path, dict[str, RunRecord]], monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = teachers.open_teacher(undisturbed[1][TEACHER], materials)
    further = chosen_texts(materials.texts["test"], np.arange(4))
    sync, said = os.fsync, []

    def meanwhile(stream: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        said.append(teacher.logits(further, bf16=False))
        sync(stream)

    monkeypatch.setattr(os, "fsync", meanwhile)
    said += [teacher.logits(further, bf16=False), teacher.logits(further, bf16=False)]
    assert len(said) == 3
    assert all(np.array_equal(one, said[0]) for one in said)


def pretended(change: Callable[[Any, TrainingTask], None]) -> Callable[..., Training]:
    """Return what takes the place of a training: it does nothing to the model but this, and its monitor saw SEEN."""

    def train(model: Any, task: TrainingTask, **_: Any) -> Training:
        with torch.no_grad():
            change(model, task)
        return Training(seconds=0.0, memory_mib=None, epochs=1, best_epoch=1, log=(), events=(SEEN,))

    return train


def say_one_class(model: Any, _: TrainingTask) -> None:
    """Lift the scores of one class so far that nothing else is ever said."""
    _head_bias(model)[0] += 1e4


def say_both_classes(model: Any, task: TrainingTask) -> None:
    """Change the model so that half the validation rows are said to be of either class."""
    civil, toxic = compute_logits(model, task.validation.texts).T
    _head_bias(model)[0] += float(np.median(toxic - civil)) + 1e-3


def _head_bias(model: Any) -> Any:
    return [weight for name, weight in model.named_parameters() if weight.requires_grad and "classifier" in name][-1]


def saved_wrongly(save: Callable[..., None]) -> Callable[..., None]:
    """Return what saves a model with one weight altered in the file."""

    def save_and_alter(model: Any, tokenizer: Any, folder: Path) -> None:
        save(model, tokenizer, folder)
        (path,) = folder.glob("*.safetensors")
        tensors: Mapping[str, Any] = load_file(path)
        name = next(name for name in tensors if name.endswith("classifier.bias"))
        save_file({**tensors, name: tensors[name] + np.float32([0.1, 0.0])}, path, metadata={"format": "pt"})

    return save_and_alter
