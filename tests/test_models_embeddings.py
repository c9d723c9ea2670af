"""Training only the seen rows of the word embeddings gives what training all of them gives."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from distilora.errors import ModelError
from distilora.models.embeddings import SeenRowsEmbedding, keep_seen_rows, restore_all_rows
from distilora.models.encoders import find_encoder, load_classifier
from distilora.models.weights import weights_hash
from tiny import FAMILIES, save_tiny_encoder

families = pytest.mark.parametrize("family", FAMILIES)
SEEN = range(4, 40)
UNSEEN = range(40, 78)


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PreTrainedModel]:
    folder = tmp_path_factory.mktemp("encoders")
    return {
        family: load_classifier(find_encoder(str(save_tiny_encoder(folder / family, family))), labels=("a", "b")).model
        for family in FAMILIES
    }


def batch_of(ids: range, *, padding: int, seed: int) -> dict[str, Tensor]:
    """Return five padded texts of 9 tokens at most, with labels."""
    tokens = torch.randint(ids.start, ids.stop, (5, 9), generator=torch.Generator().manual_seed(seed))
    mask = (torch.arange(9) < torch.tensor([9, 4, 7, 2, 9])[:, None]).long()
    return {
        "input_ids": tokens.masked_fill(mask == 0, padding),
        "attention_mask": mask,
        "labels": torch.tensor([0, 1, 1, 0, 1]),
    }


def train(model: PreTrainedModel, *, max_grad_norm: float | None = None) -> None:
    """Take four steps of fused AdamW, with dropout, without weight decay, on seen tokens only."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.0, fused=True)
    torch.manual_seed(0)
    model.train()
    for step in range(4):
        model(**batch_of(SEEN, padding=model.config.pad_token_id, seed=step)).loss.backward()
        if max_grad_norm is not None:
            nn.utils.clip_grad_norm_(parameters, max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


@torch.inference_mode()
def logits_of(model: PreTrainedModel, ids: range) -> Tensor:
    return model(**batch_of(ids, padding=model.config.pad_token_id, seed=9)).logits


@families
def test_training_seen_rows_gives_the_weights_of_dense_training_bit_for_bit(
    family: str, classifiers: dict[str, PreTrainedModel]
) -> None:
    dense, sparse = (copy.deepcopy(classifiers[family]) for _ in range(2))
    before = weights_hash(dense)
    keep_seen_rows(sparse, SEEN)
    assert sparse.get_input_embeddings().seen.shape[0] == len(SEEN) + 1  # with the padding row
    train(dense)
    train(sparse)
    for ids in (SEEN, UNSEEN, range(4, 78)):
        assert torch.equal(logits_of(sparse, ids), logits_of(dense, ids))
    restore_all_rows(sparse)
    assert before != weights_hash(dense) == weights_hash(sparse)
    assert type(sparse.get_input_embeddings()) is nn.Embedding


def test_with_clipped_gradients_the_weights_agree_to_rounding(classifiers: dict[str, PreTrainedModel]) -> None:
    # The norm of a gradient is summed in another order once its zero rows are gone.
    dense, sparse = (copy.deepcopy(classifiers["bert"]) for _ in range(2))
    keep_seen_rows(sparse, SEEN)
    train(dense, max_grad_norm=0.1)
    train(sparse, max_grad_norm=0.1)
    for name, weights in dense.state_dict().items():
        torch.testing.assert_close(sparse.state_dict()[name], weights, atol=1e-4, rtol=1e-4)


@families
def test_the_padding_row_is_not_trained(family: str, classifiers: dict[str, PreTrainedModel]) -> None:
    model = copy.deepcopy(classifiers[family])
    padding = model.config.pad_token_id
    before = model.get_input_embeddings().weight[padding].clone()
    keep_seen_rows(model, [padding, *SEEN])
    train(model)
    restore_all_rows(model)
    assert torch.equal(model.get_input_embeddings().weight[padding], before)
    assert model.get_input_embeddings().padding_idx == padding


def test_a_checkpoint_fits_plain_models_and_models_with_other_rows(classifiers: dict[str, PreTrainedModel]) -> None:
    model, same, other, plain = (copy.deepcopy(classifiers["electra"]) for _ in range(4))
    keep_seen_rows(model, SEEN)
    train(model)
    keep_seen_rows(same, SEEN)
    keep_seen_rows(other, range(30, 60))
    for target in (same, other, plain):
        target.load_state_dict(model.state_dict())
        assert weights_hash(target) == weights_hash(model)
        assert torch.equal(logits_of(target, range(4, 78)), logits_of(model, range(4, 78)))
    model.load_state_dict(classifiers["electra"].state_dict())
    assert weights_hash(model) == weights_hash(classifiers["electra"])


def test_a_checkpoint_of_another_vocabulary_is_refused_as_usual(classifiers: dict[str, PreTrainedModel]) -> None:
    model = copy.deepcopy(classifiers["bert"])
    keep_seen_rows(model, SEEN)
    name = "bert.embeddings.word_embeddings.weight"
    with pytest.raises(RuntimeError, match="size mismatch"):
        model.load_state_dict(model.state_dict() | {name: torch.zeros(3, 32)})
    with pytest.raises(RuntimeError, match="Missing key"):
        model.load_state_dict({key: value for key, value in model.state_dict().items() if key != name})


def test_asking_twice_keeps_the_rows_an_optimizer_holds(classifiers: dict[str, PreTrainedModel]) -> None:
    model = copy.deepcopy(classifiers["bert"])
    keep_seen_rows(model, SEEN)
    rows = model.get_input_embeddings().seen
    keep_seen_rows(model, [*SEEN, *SEEN])
    assert model.get_input_embeddings().seen is rows
    with torch.no_grad():
        rows.zero_()
    keep_seen_rows(model, UNSEEN)
    assert not model.get_input_embeddings().whole()[SEEN.start : SEEN.stop].any()


def test_restoring_what_was_never_exchanged_changes_nothing(classifiers: dict[str, PreTrainedModel]) -> None:
    model = copy.deepcopy(classifiers["bert"])
    table = model.get_input_embeddings()
    restore_all_rows(model)
    assert model.get_input_embeddings() is table


def test_frozen_embeddings_stay_as_they_are(classifiers: dict[str, PreTrainedModel]) -> None:
    model = copy.deepcopy(classifiers["bert"]).requires_grad_(False)
    keep_seen_rows(model, SEEN)
    assert not isinstance(model.get_input_embeddings(), SeenRowsEmbedding)


def test_a_token_outside_the_vocabulary_is_refused(classifiers: dict[str, PreTrainedModel]) -> None:
    with pytest.raises(ModelError, match="only ids 0 to 77"):
        keep_seen_rows(copy.deepcopy(classifiers["bert"]), [5, 78])
