"""A classifier that runs with some of its layers says what a student made of them says, and is itself afterwards."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from distilora.errors import ConfigError
from distilora.models.encoders import find_encoder, load_classifier
from distilora.models.first_token import first_token_only
from distilora.models.inference import compute_logits
from distilora.models.layers import layer_stack
from distilora.models.students import build_student
from distilora.models.subsets import only_layers
from distilora.models.weights import weights_hash
from tiny import FAMILIES, logits_of, save_tiny_encoder
from training_cases import rows

families = pytest.mark.parametrize("family", FAMILIES)
CHOICES = ((1, 3), (2, 4), (4,), (2, 3, 4), (1, 2, 3, 4))


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PreTrainedModel]:
    folder = tmp_path_factory.mktemp("encoders")
    return {
        family: load_classifier(
            find_encoder(str(save_tiny_encoder(folder / family, family))), labels=("civil", "toxic")
        ).model.eval()
        for family in FAMILIES
    }


@families
@pytest.mark.parametrize("numbers", CHOICES)
def test_some_layers_say_what_a_student_of_them_says(
    family: str, numbers: tuple[int, ...], teachers: dict[str, PreTrainedModel]
) -> None:
    teacher, texts = teachers[family], rows(12, seed=1).texts
    student = build_student(teacher, numbers)
    whole, before = logits_of(teacher), weights_hash(teacher)
    with only_layers(teacher, numbers):
        assert torch.equal(logits_of(teacher), logits_of(student))
        with first_token_only(teacher):
            torch.testing.assert_close(logits_of(teacher), logits_of(student))
        assert np.array_equal(compute_logits(teacher, texts), compute_logits(student, texts))
    assert weights_hash(teacher) == before
    assert torch.equal(logits_of(teacher), whole)


@families
def test_first_tokens_alone_computed_around_the_choice_change_nothing(
    family: str, teachers: dict[str, PreTrainedModel]
) -> None:
    teacher = teachers[family]
    for numbers in CHOICES:
        student = build_student(teacher, numbers)
        with first_token_only(teacher), only_layers(teacher, numbers):
            torch.testing.assert_close(logits_of(teacher), logits_of(student))


def test_a_convolution_behind_the_first_layer_stays_behind_the_first(teachers: dict[str, PreTrainedModel]) -> None:
    config = copy.deepcopy(teachers["deberta-v2"].config)
    config.conv_kernel_size, config.conv_act = 3, "gelu"
    teacher = AutoModelForSequenceClassification.from_config(config).eval()
    with only_layers(teacher, (2, 4)):
        found = logits_of(teacher)
    assert torch.equal(found, logits_of(build_student(teacher, (2, 4))))


@families
def test_the_model_is_as_before_even_after_an_error(family: str, teachers: dict[str, PreTrainedModel]) -> None:
    teacher = teachers[family]
    names, stack, layers = list(teacher.state_dict()), layer_stack(teacher), list(layer_stack(teacher))
    storage = {weight.data_ptr() for weight in teacher.parameters()}
    with only_layers(teacher, (2, 4)):
        assert {weight.data_ptr() for weight in teacher.parameters()} < storage
    with pytest.raises(ValueError, match="specify"), only_layers(teacher, (2, 4)):
        teacher()
    assert layer_stack(teacher) is stack
    assert list(stack) == layers
    assert list(teacher.state_dict()) == names
    assert not any(isinstance(part, nn.Identity) for layer in layers[1:] for part in layer.children())


def test_dropout_stays_on_or_off_as_it_was(teachers: dict[str, PreTrainedModel]) -> None:
    teacher = copy.deepcopy(teachers["bert"])
    layer_stack(teacher)[1].train()  # one layer alone
    modes = [module.training for module in teacher.modules()]
    with only_layers(teacher, (1, 2)):
        assert [layer.training for layer in layer_stack(teacher)] == [False, True]
    assert [module.training for module in teacher.modules()] == modes


def test_a_choice_within_a_choice_counts_the_layers_that_are_left(teachers: dict[str, PreTrainedModel]) -> None:
    teacher = teachers["bert"]
    with only_layers(teacher, (1, 3, 4)), only_layers(teacher, (2, 3)):
        found = logits_of(teacher)
    assert torch.equal(found, logits_of(build_student(teacher, (3, 4))))


@pytest.mark.parametrize("numbers", [(), (0, 1), (2, 5), (3, 1)])
def test_layers_that_the_model_lacks_are_refused(
    numbers: tuple[int, ...], teachers: dict[str, PreTrainedModel]
) -> None:
    before = weights_hash(teachers["bert"])
    with pytest.raises(ConfigError, match=r"^layers = "), only_layers(teachers["bert"], numbers):
        pass
    assert weights_hash(teachers["bert"]) == before
