"""Students repeat themselves once saved, own their memory, and are made of the right layers, in all families."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification, PreTrainedModel

from distilora.errors import ConfigError
from distilora.models.encoders import find_encoder, load_classifier
from distilora.models.layers import layer_index, layer_numbers, layer_stack
from distilora.models.loading import quietly
from distilora.models.students import build_student
from distilora.models.weights import parameter_counts, shared_storage, weights_hash
from tiny import FAMILIES, logits_of, save_tiny_encoder

families = pytest.mark.parametrize("family", FAMILIES)
choices = pytest.mark.parametrize("choice", ["odd", "even", "4"])


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PreTrainedModel]:
    folder = tmp_path_factory.mktemp("encoders")
    return {
        family: load_classifier(
            find_encoder(str(save_tiny_encoder(folder / family, family))), labels=("civil", "toxic")
        ).model
        for family in FAMILIES
    }


@families
@choices
def test_a_saved_student_repeats_its_logits_in_plain_transformers(
    family: str, choice: str, teachers: dict[str, PreTrainedModel], tmp_path: Path
) -> None:
    student = build_student(teachers[family], layer_numbers(choice, 4))
    with quietly():
        student.save_pretrained(tmp_path)
        again = AutoModelForSequenceClassification.from_pretrained(tmp_path, attn_implementation="eager")
    assert torch.equal(logits_of(again), logits_of(student))
    assert not torch.equal(logits_of(student), logits_of(teachers[family]))
    assert again.config.distilora_layers == list(layer_numbers(choice, 4))
    assert again.config.id2label == {0: "civil", 1: "toxic"}


@families
def test_a_student_of_all_layers_repeats_the_teacher(family: str, teachers: dict[str, PreTrainedModel]) -> None:
    student = build_student(teachers[family], (1, 2, 3, 4))
    assert torch.equal(logits_of(student), logits_of(teachers[family]))
    assert student.config.distilora_dropped == []


@families
def test_each_student_layer_is_the_teacher_layer_of_its_number(
    family: str, teachers: dict[str, PreTrainedModel]
) -> None:
    numbers = (1, 2, 4)
    student = build_student(teachers[family], numbers)
    for layer, number in zip(layer_stack(student), numbers, strict=True):
        assert weights_hash(layer) == weights_hash(layer_stack(teachers[family])[layer_index(number)])


@families
def test_a_student_owns_every_tensor_and_leaves_the_teacher_alone(
    family: str, teachers: dict[str, PreTrainedModel]
) -> None:
    teacher = teachers[family]
    before, state = weights_hash(teacher), torch.get_rng_state()
    student = build_student(teacher, (1, 3))
    assert shared_storage(teacher, student) == []
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        for tensor in (*student.parameters(), *student.buffers()):
            tensor.zero_()
    assert weights_hash(teacher) == before
    assert teacher.config.num_hidden_layers == 4


def test_shared_tensors_are_named(teachers: dict[str, PreTrainedModel]) -> None:
    teacher = teachers["bert"]
    student = build_student(teacher, (1, 3))
    student.classifier.bias = teacher.classifier.bias
    student.bert.encoder.layer[1] = teacher.bert.encoder.layer[2]
    shared = shared_storage(teacher, student)
    assert "classifier.bias" in shared
    assert len([name for name in shared if name.startswith("bert.encoder.layer.1.")]) == 16


@families
def test_a_student_has_the_dropout_that_was_asked_for(family: str, teachers: dict[str, PreTrainedModel]) -> None:
    student = build_student(teachers[family], (2, 4), dropout=0.25)
    assert {module.p for module in student.modules() if isinstance(module, nn.Dropout)} == {0.25}


@pytest.mark.parametrize("numbers", [(), (0, 1), (2, 5), (3, 1)])
def test_layers_that_the_teacher_lacks_are_refused(
    numbers: tuple[int, ...], teachers: dict[str, PreTrainedModel]
) -> None:
    with pytest.raises(ConfigError, match=r"^layers = "):
        build_student(teachers["bert"], numbers)


def test_a_modernbert_student_keeps_each_layers_attention_and_says_which_norm_it_lost(
    teachers: dict[str, PreTrainedModel],
) -> None:
    odd, even = (build_student(teachers["modernbert"], layer_numbers(choice, 4)) for choice in ("odd", "even"))
    assert odd.config.layer_types == ["full_attention", "sliding_attention"]
    assert even.config.layer_types == ["sliding_attention", "full_attention"]
    assert odd.config.distilora_dropped == []
    assert even.config.distilora_dropped == ["model.layers.1.attn_norm.weight"]


# Expected numbers: parameter counts that the earlier projects published for bert-base-uncased with two labels.
@pytest.mark.parametrize("choice", ["odd", "even"])
def test_a_half_of_bert_base_has_66956546_parameters(choice: str) -> None:
    with torch.device("meta"):
        teacher = BertForSequenceClassification(BertConfig(num_labels=2))
    student = build_student(teacher, layer_numbers(choice, 12))
    assert parameter_counts(teacher) == (109_483_778, 109_483_778)
    assert parameter_counts(student) == (66_956_546, 66_956_546)
