"""A last layer that computes only the first token gives the logits and gradients of one that computes all."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from distilora.config import LoraSettings
from distilora.models.adapters import add_lora
from distilora.models.encoders import Encoder, find_encoder, load_classifier
from distilora.models.first_token import first_token_only
from distilora.models.layers import layer_stack
from tiny import FAMILIES, save_tiny_encoder

SHORTENED = ("bert", "roberta", "electra", "distilbert")
shortened = pytest.mark.parametrize("family", SHORTENED)
LABELS = ("a", "b", "c")


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Encoder]:
    folder = tmp_path_factory.mktemp("encoders")
    return {family: find_encoder(str(save_tiny_encoder(folder / family, family, layers=2))) for family in FAMILIES}


def classifier(encoder: Encoder, *, attention: str = "eager") -> PreTrainedModel:
    """Return a classifier in training mode, without dropout."""
    model, _ = load_classifier(encoder, labels=LABELS, attention=attention)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model.train()


def batch(*, padding: bool = True) -> dict[str, Tensor]:
    """Return three texts with labels, two of them padded where asked."""
    ids = torch.randint(4, 70, (3, 12), generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([12, 8, 3] if padding else [12, 12, 12])
    mask = (torch.arange(12) < lengths[:, None]).long()
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([0, 2, 1])}


def gradients(model: nn.Module, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    model.zero_grad()
    model(**inputs).loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


@contextmanager
def last_layer_width(model: nn.Module) -> Iterator[list[int]]:
    """Collect for how many tokens the last layer computes its output."""
    found: list[int] = []
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    hook = layer_stack(base)[-1].register_forward_hook(lambda _, __, output: found.append(output.shape[1]))
    yield found
    hook.remove()


def assert_same_training(model: nn.Module, inputs: dict[str, Tensor]) -> None:
    expected, logits = gradients(model, inputs), model(**inputs).logits
    with first_token_only(model), last_layer_width(model) as tokens:
        found, again = gradients(model, inputs), model(**inputs).logits
    assert tokens == [1, 1]
    assert found.keys() == expected.keys()
    torch.testing.assert_close(again, logits)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@shortened
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("padding", [True, False])
def test_logits_and_every_gradient_are_those_of_the_full_computation(
    family: str, attention: str, padding: bool, encoders: dict[str, Encoder]
) -> None:
    assert_same_training(classifier(encoders[family], attention=attention), batch(padding=padding))


@shortened
def test_adapters_in_the_last_layer_get_the_gradients_of_the_full_computation(
    family: str, encoders: dict[str, Encoder]
) -> None:
    model, fresh = load_classifier(encoders[family], labels=LABELS)
    settings = LoraSettings(targets=["all-linear"], dropout=0.0)
    adapted = add_lora(model, settings, fresh=fresh, encoder=encoders[family], seed=0).eval()
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:  # they begin at zero, and nothing would reach the other half
                weight.normal_(std=0.1)
    assert_same_training(adapted, batch())


@shortened
def test_asked_for_hidden_states_or_attention_maps_all_tokens_are_computed(
    family: str, encoders: dict[str, Encoder]
) -> None:
    model = classifier(encoders[family])
    with torch.no_grad():
        expected = model(**batch(), output_hidden_states=True, output_attentions=True)
        with first_token_only(model):
            found = model(**batch(), output_hidden_states=True)
            maps = model(**batch(), output_attentions=True).attentions
            model.config.output_hidden_states = True
            by_settings = model(**batch())
    for answer in (found, by_settings):
        torch.testing.assert_close(answer.hidden_states, expected.hidden_states, rtol=0, atol=0)
    torch.testing.assert_close(maps, expected.attentions, rtol=0, atol=0)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in SHORTENED])
def test_other_families_are_left_as_they_are(family: str, encoders: dict[str, Encoder]) -> None:
    model = classifier(encoders[family])
    expected = model(**batch()).logits
    with first_token_only(model):
        assert not any("forward" in vars(module) for module in model.modules())
        assert torch.equal(model(**batch()).logits, expected)


def test_a_head_that_reads_all_tokens_gets_all(encoders: dict[str, Encoder]) -> None:
    bare = classifier(encoders["bert"]).base_model
    inputs = {name: tensor for name, tensor in batch().items() if name != "labels"}
    with first_token_only(bare):
        assert bare(**inputs).last_hidden_state.shape[1] == 12


@shortened
def test_the_model_is_as_before_even_after_an_error(family: str, encoders: dict[str, Encoder]) -> None:
    model = classifier(encoders[family])
    names = list(model.state_dict())
    expected = model(**batch()).logits
    with pytest.raises(ValueError, match="You must specify"), first_token_only(model):
        model(**batch(), inputs_embeds=torch.zeros(3, 12, 32))
    assert list(model.state_dict()) == names
    assert not any("forward" in vars(module) for module in model.modules())
    assert torch.equal(model(**batch()).logits, expected)


def test_leaving_an_inner_context_leaves_the_outer_one_at_work(encoders: dict[str, Encoder]) -> None:
    model = classifier(encoders["bert"])
    with first_token_only(model), last_layer_width(model) as tokens:
        with first_token_only(model):
            model(**batch())
        model(**batch())
    assert tokens == [1, 1]


def test_a_copy_made_meanwhile_computes_with_its_own_weights(encoders: dict[str, Encoder]) -> None:
    model = classifier(encoders["bert"])
    with first_token_only(model):
        twin = copy.deepcopy(model)
        with torch.no_grad():
            layer_stack(twin)[-1].output.dense.weight.zero_()
        assert not torch.equal(twin(**batch()).logits, model(**batch()).logits)


@shortened
def test_dropout_is_that_of_the_seed(family: str, encoders: dict[str, Encoder]) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(encoders[family].path, num_labels=3).train()
    answers = []
    with first_token_only(model):
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            answers.append(model(**batch()).logits)
    assert torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[0], answers[2])


@shortened
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_half_precision_hides_padding_too(family: str, attention: str, encoders: dict[str, Encoder]) -> None:
    model = classifier(encoders[family], attention=attention).eval()
    inputs = batch()
    other = inputs | {"input_ids": inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, 5)}
    with first_token_only(model), torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = model(**inputs).logits
        # RoBERTa numbers positions by what is padding, but neither input holds its padding id.
        torch.testing.assert_close(model(**other).logits, found, rtol=0, atol=0)
    torch.testing.assert_close(found.float(), model(**inputs).logits, rtol=0.1, atol=0.1)
