"""The training loop: what it minimises, logs, keeps and stops at."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import PreTrainedModel

from distilora.config import DistillationSettings, LoraSettings, TrainingSettings
from distilora.data.batches import LabelledRows
from distilora.errors import VoidRunError
from distilora.evaluation.metrics import macro_f1
from distilora.losses.objective import UNLABELLED, Objective
from distilora.models.inference import compute_logits
from distilora.models.joint import add_joint_adapters
from distilora.models.students import build_student
from distilora.models.weights import weights_hash
from distilora.training.arguments import default_learning_rate, training_arguments
from distilora.training.callbacks import TrainingMemory
from distilora.training.layer_matching import LiveTeacher
from distilora.training.loop import train_model
from tiny import save_tiny_encoder
from training_cases import SETTINGS, classifier, rows, scores, task

STANDSTILL = SETTINGS.model_copy(update={"learning_rate": 1e-300})


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_encoder(tmp_path_factory.mktemp("encoder"))


def logged(log: tuple[dict[str, Any], ...], key: str) -> list[float]:
    return [entry[key] for entry in log if key in entry]


def test_every_term_of_a_student_is_logged_by_name_with_its_mean(encoder: Path, tmp_path: Path) -> None:
    teacher = classifier(encoder, seed=1).requires_grad_(requires_grad=False)
    student = build_student(teacher, (1, 3))
    weights = DistillationSettings(hard=0.5, soft=2, cosine_logits=0.25, cosine_hidden=3, temperature=3)
    train, validation = rows(50, seed=1, teacher=teacher), rows(30, seed=2, teacher=teacher)
    training = train_model(
        student,
        task(
            tmp_path,
            STANDSTILL.model_copy(update={"epochs": 1}),
            objective=Objective(weights=weights),
            train=train,
            validation=validation,
            teacher=LiveTeacher(teacher, (1, 3)),
        ),
        scores=scores,
    )
    expected = {
        "hard": functional.cross_entropy(*_tensors(student, validation)).item(),
        "soft": 9 * _divergence(student, validation, temperature=3),
        "cosine_logits": _cosine(student, validation),
        "cosine_hidden": _hidden_cosine(student, teacher, validation),
    }
    (evaluation,) = [entry for entry in training.log if "eval_loss" in entry]
    found = {name: evaluation[f"eval_loss_{name}"] for name in expected}
    assert found == pytest.approx(expected, rel=1e-4)
    total = sum(getattr(weights, name) * term for name, term in expected.items())
    assert evaluation["eval_loss"] == pytest.approx(total, rel=1e-4)
    for entry in (entry for entry in training.log if "loss" in entry):
        weighted = sum(getattr(weights, name) * entry[f"loss_{name}"] for name in expected)
        assert entry["loss"] == pytest.approx(weighted, rel=1e-4)


def test_the_logged_training_loss_is_the_mean_over_its_steps(encoder: Path, tmp_path: Path) -> None:
    model = classifier(encoder)
    train = rows(48, seed=1)  # six whole batches
    training = train_model(model, task(tmp_path, STANDSTILL, train=train), scores=scores)
    entries = [entry for entry in training.log if "loss" in entry]
    assert [entry["step"] for entry in entries] == [1, 3, 6, 9, 12]
    over_first_epoch = (entries[0]["loss_hard"] + 2 * entries[1]["loss_hard"] + 3 * entries[2]["loss_hard"]) / 6
    assert over_first_epoch == pytest.approx(functional.cross_entropy(*_tensors(model, train)).item(), rel=1e-5)


def test_steps_without_any_label_leave_the_mean_of_the_labels_term_alone(encoder: Path, tmp_path: Path) -> None:
    model, teacher = classifier(encoder), classifier(encoder, seed=1)
    train = rows(48, seed=1, teacher=teacher)  # six batches, one of which has a label
    labels = np.where(np.arange(48) == 5, train.labels, UNLABELLED)
    objective = Objective(weights=DistillationSettings(balance="moving-average"))
    mostly = task(tmp_path, STANDSTILL, train=replace(train, labels=labels), objective=objective)
    training = train_model(model, mostly, scores=scores)
    logits, true = _tensors(model, train)
    assert logged(training.log, "loss_hard") == pytest.approx(
        2 * [functional.cross_entropy(logits[5:6], true[5:6]).item()], rel=1e-5
    )
    assert len(logged(training.log, "loss_soft")) == 5


def _tensors(model: PreTrainedModel, of: LabelledRows) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(compute_logits(model, of.texts)), torch.from_numpy(of.labels)


def _divergence(model: PreTrainedModel, of: LabelledRows, *, temperature: float) -> float:
    assert of.teacher_logits is not None
    p, q = (
        torch.softmax(torch.from_numpy(logits) / temperature, dim=1)
        for logits in (of.teacher_logits, compute_logits(model, of.texts))
    )
    return float((p * (p / q).log()).sum(dim=1).mean())


def _cosine(model: PreTrainedModel, of: LabelledRows) -> float:
    assert of.teacher_logits is not None
    return float(1 - functional.cosine_similarity(_tensors(model, of)[0], torch.from_numpy(of.teacher_logits)).mean())


@torch.no_grad()
def _hidden_cosine(student: PreTrainedModel, teacher: PreTrainedModel, of: LabelledRows) -> float:
    """Return the mean over layers and tokens, text by text, so that nothing is padded."""
    distances = []
    for row in range(len(of)):
        ids = torch.from_numpy(of.texts.ids[of.texts.starts[row] : of.texts.starts[row + 1]])[None]
        mine, its = (model(input_ids=ids, output_hidden_states=True).hidden_states for model in (student, teacher))
        for layer, number in ((1, 1), (2, 3)):
            distances += (1 - functional.cosine_similarity(mine[layer], its[number], dim=-1)).flatten().tolist()
    return float(np.mean(distances))


def test_cosine_of_hidden_states_alone_can_be_trained_on(encoder: Path, tmp_path: Path) -> None:
    teacher = classifier(encoder, seed=1).requires_grad_(requires_grad=False)
    weights = DistillationSettings(hard=0, soft=0, cosine_hidden=1)
    training = train_model(
        build_student(teacher, (2, 4)),
        task(tmp_path, objective=Objective(weights=weights), teacher=LiveTeacher(teacher, (2, 4))),
        scores=scores,
    )
    first, last = logged(training.log, "eval_loss_cosine_hidden")
    assert last < first
    assert logged(training.log, "eval_loss") == [first, last]


def test_the_learning_rate_rises_to_its_peak_and_falls_to_nothing(encoder: Path, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"warmup": 0.25, "logging_steps": 1})
    training = train_model(classifier(encoder), task(tmp_path, settings, train=rows(32, seed=1)), scores=scores)
    # Eight steps, two of them warm-up; each entry has the rate that its step was made with.
    expected = [0, 1 / 2, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    assert logged(training.log, "learning_rate") == pytest.approx([2e-3 * share for share in expected])


def test_the_weights_of_the_best_epoch_are_kept(encoder: Path, tmp_path: Path) -> None:
    wanted = [0.2, 0.9, 0.4, 0.9]  # the first of equals counts
    told = iter(wanted)
    seen: list[NDArray[np.float32]] = []

    def pretend(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
        seen.append(logits)
        return {"macro_f1": next(told)}

    model = classifier(encoder)
    work = task(tmp_path, SETTINGS.model_copy(update={"epochs": 4}))
    training = train_model(model, work, scores=pretend)
    assert (training.epochs, training.best_epoch) == (4, 2)
    kept = compute_logits(model, work.validation.texts)
    np.testing.assert_allclose(kept, seen[1], atol=1e-6)
    assert np.abs(kept - seen[3]).max() > 1e-3
    assert logged(training.log, "eval_macro_f1") == wanted


def test_training_stops_once_patience_is_used_up(encoder: Path, tmp_path: Path) -> None:
    told = iter([0.5, 0.6, 0.6, 0.1, 0.9])
    settings = SETTINGS.model_copy(update={"epochs": 5, "patience": 2})
    training = train_model(classifier(encoder), task(tmp_path, settings), scores=lambda *_: {"macro_f1": next(told)})
    assert (training.epochs, training.best_epoch) == (4, 2)


def test_the_same_seed_trains_the_same_bits_and_another_one_others(encoder: Path, tmp_path: Path) -> None:
    hashes = []
    for number, seed in enumerate((0, 0, 1)):
        torch.default_generator.manual_seed(number)  # what came before must not matter
        model = classifier(encoder, dropout=0.1)
        train_model(model, task(tmp_path / str(number), seed=seed), scores=scores)
        hashes.append(weights_hash(model))
    assert hashes[0] == hashes[1]
    assert hashes[0] != hashes[2]


def test_a_learning_rate_of_almost_nothing_leaves_every_bit(encoder: Path, tmp_path: Path) -> None:
    model = classifier(encoder)
    before = weights_hash(model)
    train_model(model, task(tmp_path, STANDSTILL), scores=scores)
    assert weights_hash(model) == before


def test_the_model_learns_what_tells_the_classes_apart(encoder: Path, tmp_path: Path) -> None:
    model = classifier(encoder)
    work = task(tmp_path, SETTINGS.model_copy(update={"epochs": 4}), train=rows(160, seed=1))
    train_model(model, work, scores=scores)
    assert macro_f1(compute_logits(model, work.validation.texts), work.validation.labels) > 0.9


def test_only_the_rows_of_words_that_occur_change(encoder: Path, tmp_path: Path) -> None:
    model = classifier(encoder)
    work = task(tmp_path)
    before = model.get_input_embeddings().weight.detach().clone()
    train_model(model, work, scores=scores)
    table = model.get_input_embeddings()
    assert type(table) is torch.nn.Embedding
    changed = (table.weight != before).any(dim=1).nonzero().flatten().tolist()
    assert set(changed) == set(work.train.texts.ids.tolist())


def test_weights_that_overflow_end_the_run(encoder: Path, tmp_path: Path) -> None:
    model = classifier(encoder)
    with torch.no_grad():
        model.bert.pooler.dense.weight.fill_(math.inf)
    with pytest.raises(VoidRunError, match=r"^finite loss: loss is nan at step 1$"):
        train_model(model, task(tmp_path), scores=scores)


def test_an_absurd_weight_of_a_loss_term_ends_the_run(encoder: Path, tmp_path: Path) -> None:
    objective = Objective(weights=DistillationSettings(hard=1e39))  # beyond float32
    with pytest.raises(VoidRunError, match=r"^finite loss: loss is inf at step 1$"):
        train_model(classifier(encoder), task(tmp_path, objective=objective), scores=scores)


def test_seconds_leave_evaluations_out(encoder: Path, tmp_path: Path) -> None:
    def slow(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
        time.sleep(0.4)
        return scores(logits, labels)

    began = time.perf_counter()
    training = train_model(classifier(encoder), task(tmp_path), scores=slow)
    assert 0 < training.seconds < time.perf_counter() - began - 0.8


def test_bfloat16_trains_a_model_that_ends_in_float32(encoder: Path, tmp_path: Path) -> None:
    model = classifier(encoder)
    settings = SETTINGS.model_copy(update={"precision": "bf16", "epochs": 1})
    work = task(tmp_path, settings)
    training = train_model(model, work, scores=scores)
    assert {weights.dtype for weights in model.parameters()} == {torch.float32}
    ids, mask = work.validation.texts.padded([0])
    assert model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).logits.dtype == torch.float32
    exact = macro_f1(compute_logits(model, work.validation.texts), work.validation.labels)
    assert logged(training.log, "eval_macro_f1") == pytest.approx([exact], abs=0.1)


def test_one_process_trains_on_one_gpu_however_many_it_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Our own question alone is answered, and the trainer's count: without a GPU its device stays the processor.
    seen = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: True))
    monkeypatch.setattr("distilora.training.arguments.torch", seen)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    arguments = training_arguments(SETTINGS, folder=tmp_path, seed=0)
    assert (arguments.n_gpu, arguments.train_batch_size) == (1, SETTINGS.batch_size)


def test_validation_compares_the_layers_that_training_does_those_without_adapters(
    encoder: Path, tmp_path: Path
) -> None:
    teacher = classifier(encoder, seed=1).requires_grad_(requires_grad=False)
    weights = DistillationSettings(hard=1, soft=0, cosine_logits=0, hidden=1)
    found = {}
    for adapted in (0.0, 1.0):
        student = build_student(teacher, (1, 3))
        if adapted:
            add_joint_adapters(student, LoraSettings(rank=2), seed=0)
            for name, weight in student.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.ones_(weight)
        work = task(
            tmp_path / str(adapted),
            STANDSTILL.model_copy(update={"epochs": 1}),
            objective=Objective(weights=weights, adapted=adapted),
            teacher=LiveTeacher(teacher, (1, 3)),
        )
        training = train_model(student, work, scores=scores)
        found[adapted] = [logged(training.log, f"{part}loss_hidden")[-1] for part in ("", "eval_")]
    assert found[0.0][1] > 0
    assert found[1.0] == pytest.approx(found[0.0], rel=1e-5)


def test_a_learning_rate_must_have_been_chosen(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="learning_rate is not set"):
        training_arguments(TrainingSettings(), folder=tmp_path, seed=0)
    assert default_learning_rate("lora", width=384) > default_learning_rate("lora", width=768)


BALLAST_MIB = 300


@contextmanager
def ballast() -> Iterator[None]:
    """Hold much memory meanwhile."""
    held = np.ones(BALLAST_MIB * 2**20, dtype=np.uint8)
    yield
    del held


def test_peak_memory_counts_what_is_held_during_a_training_and_nothing_before_it(encoder: Path, tmp_path: Path) -> None:
    with ballast():
        heavy = train_model(classifier(encoder), task(tmp_path / "heavy"), scores=scores).memory_mib
    light = train_model(classifier(encoder), task(tmp_path / "light"), scores=scores).memory_mib
    assert heavy is not None
    assert light is not None
    assert BALLAST_MIB - 50 < heavy - light < BALLAST_MIB + 50


def test_peak_memory_of_a_training_that_was_broken_off_is_the_most_of_all_stretches(
    encoder: Path, tmp_path: Path
) -> None:
    calls = iter(range(2))

    def interrupt(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
        if next(calls) == 1:
            raise KeyboardInterrupt
        return scores(logits, labels)

    with ballast(), pytest.raises(KeyboardInterrupt):
        train_model(classifier(encoder), task(tmp_path / "broken"), scores=interrupt)
    resumed = train_model(classifier(encoder), task(tmp_path / "broken"), scores=scores).memory_mib
    undisturbed = train_model(classifier(encoder), task(tmp_path / "whole"), scores=scores).memory_mib
    assert resumed is not None
    assert undisturbed is not None
    assert resumed > undisturbed + BALLAST_MIB - 50


def test_peak_memory_is_missing_where_one_epoch_could_not_be_told_from_what_was_before() -> None:
    memory = TrainingMemory()
    assert memory.peak_mib is None
    cpu, other = (SimpleNamespace(device=torch.device(name)) for name in ("cpu", "mps"))
    for args in (cpu, cpu):
        memory.on_epoch_begin(args)
        memory.on_epoch_end(args)
    assert memory.peak_mib is not None
    assert memory.peak_mib == max(peak for peak in memory.epoch_peaks if peak is not None)
    memory.on_epoch_begin(other)
    memory.on_epoch_end(other)
    assert memory.epoch_peaks[-1] is None
    assert memory.peak_mib is None
