"""Each guard fires on the fault it is named for, really made, and passes where all is well."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

from distilora import guards
from distilora.config import LoraSettings
from distilora.errors import VoidRunError
from distilora.evaluation.metrics import evaluate_logits
from distilora.evaluation.records import Evaluation
from distilora.models.adapters import add_lora
from distilora.models.encoders import find_encoder, load_classifier, load_trained, save_trained
from distilora.models.layers import layer_stack
from distilora.models.students import build_student
from distilora.models.weights import weights_hash
from tiny import FAMILIES, logits_of, save_tiny_encoder, tiny_tokenizer

NAMES = ("civil", "toxic")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoders")
    for family in FAMILIES:
        save_tiny_encoder(folder / family, family, layers=2)
    return folder


def classifier(folder: Path, family: str = "bert") -> tuple[PreTrainedModel, Sequence[str]]:
    return load_classifier(find_encoder(str(folder / family)), labels=NAMES)


def saying(predictions: list[int], labels: list[int]) -> Evaluation:
    return evaluate_logits(np.eye(2)[predictions], np.array(labels), label_names=NAMES)


def fires(guard: str, match: str) -> pytest.RaisesExc[VoidRunError]:
    return pytest.raises(VoidRunError, match=re.escape(guard) + ".*" + match)


def test_a_teacher_must_beat_the_majority_class_in_accuracy_and_in_macro_f1() -> None:
    labels = [0, 0, 0, 0, 0, 0, 1, 1]
    majority = saying([0] * 8, labels)
    guards.require_trained_teacher(saying([0, 0, 0, 0, 0, 0, 0, 1], labels), majority)
    with fires(guards.TRAINED_TEACHER, "accuracy is 0.7500, the majority class alone has 0.7500"):
        guards.require_trained_teacher(majority, majority)
    with fires(guards.TRAINED_TEACHER, "accuracy is 0.6250"):
        guards.require_trained_teacher(saying([1, 1, 1, 0, 0, 0, 1, 1], labels), majority)


def test_a_teacher_that_is_void_teaches_nobody() -> None:
    guards.require_sound_teacher(None)
    with fires(guards.SOUND_TEACHER, "its reason"):
        guards.require_sound_teacher("its reason")


def test_one_answer_for_all_rows_is_refused() -> None:
    guards.require_varied_predictions(saying([0, 0, 1], [0, 0, 0]))
    with fires(guards.VARIED_PREDICTIONS, 'all 3 validation rows are predicted "toxic"'):
        guards.require_varied_predictions(saying([1, 1, 1], [0, 1, 1]))


def test_tensors_that_a_student_shares_with_its_teacher_are_found(folder: Path) -> None:
    teacher, _ = classifier(folder)
    student = build_student(teacher, (1,))
    guards.require_own_storage(teacher, student)
    layer_stack(student)[0] = layer_stack(teacher)[0]
    with fires(guards.OWN_STORAGE, "16 tensors are shared, the first is bert.encoder.layer.0"):
        guards.require_own_storage(teacher, student)


def test_a_student_whose_weights_are_a_view_of_its_teacher_s_is_found(folder: Path) -> None:
    teacher, _ = classifier(folder)
    student = build_student(teacher, (2,))
    student.classifier.weight.data = teacher.classifier.weight.data[:]
    with fires(guards.OWN_STORAGE, "1 tensors are shared, the first is classifier.weight"):
        guards.require_own_storage(teacher, student)


def test_training_a_student_that_shares_tensors_changes_its_teacher(folder: Path) -> None:
    teacher, _ = classifier(folder)
    before = weights_hash(teacher)
    student = build_student(teacher, (1,))
    one_step(student)
    guards.require_teacher_unchanged(before, weights_hash(teacher))
    student.classifier = teacher.classifier
    one_step(student)
    with fires(guards.TEACHER_UNCHANGED, "differ before and after"):
        guards.require_teacher_unchanged(before, weights_hash(teacher))


def one_step(model: PreTrainedModel) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(input_ids=torch.tensor([[2, 5, 3]]), labels=torch.tensor([1])).loss.backward()
    optimizer.step()


def test_a_training_whose_optimizer_held_another_model_is_found(folder: Path) -> None:
    model, _ = classifier(folder)
    before = weights_hash(model)
    one_step(classifier(folder)[0])
    with fires(guards.WEIGHTS_CHANGED, "every trainable weight is the same"):
        guards.require_weights_changed(before, weights_hash(model))
    one_step(model)
    guards.require_weights_changed(before, weights_hash(model))


def test_a_student_of_all_layers_says_what_its_teacher_says(folder: Path) -> None:
    teacher, _ = classifier(folder)
    said = logits_of(teacher).numpy()
    guards.require_student_differs(logits_of(build_student(teacher, (1,))).numpy(), said)
    with fires(guards.STUDENT_DIFFERS, "the same logits on all 3 rows"):
        guards.require_student_differs(logits_of(build_student(teacher, (1, 2))).numpy(), said)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_a_frozen_fresh_module_is_found_in_every_family(family: str, lora: bool, folder: Path) -> None:
    model, fresh = classifier(folder, family)
    whole: nn.Module = model
    if lora:
        whole = add_lora(model, LoraSettings(), fresh=fresh, encoder=find_encoder(str(folder / family)), seed=0)
    guards.require_trainable_classifier(whole, fresh)
    for module in fresh:
        model.get_submodule(module).requires_grad_(requires_grad=False)
        with fires(guards.TRAINABLE_CLASSIFIER, f"{module} starts from random weights and is frozen"):
            guards.require_trainable_classifier(whole, fresh)
        model.get_submodule(module).requires_grad_(requires_grad=True)


def test_a_fresh_module_that_is_not_there_is_no_trained_one(folder: Path) -> None:
    model, _ = classifier(folder)
    with fires(guards.TRAINABLE_CLASSIFIER, "pre_classifier"):
        guards.require_trainable_classifier(model, ("pre_classifier",))


def test_a_model_folder_that_was_altered_after_saving_is_found(folder: Path, tmp_path: Path) -> None:
    model, _ = classifier(folder)
    said = logits_of(model).numpy()
    save_trained(model, tiny_tokenizer(), tmp_path)
    guards.require_same_logits(said, logits_of(load_trained(tmp_path)).numpy())
    weights = load_file(tmp_path / "model.safetensors")
    weights["classifier.bias"] += 1e-3
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with fires(guards.SAME_AFTER_RELOAD, "logits differ by 0.001 after saving and loading, allowed is 1e-05"):
        guards.require_same_logits(said, logits_of(load_trained(tmp_path)).numpy())


def test_logits_that_are_no_numbers_are_not_the_same() -> None:
    nothing = np.full((1, 2), np.nan, dtype=np.float32)
    with fires(guards.SAME_AFTER_RELOAD, "differ by nan"):
        guards.require_same_logits(nothing, nothing)
