"""Classifiers of the BERT kind taken apart: what their families call differently under one name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from distilora.models.layers import layer_stack


@dataclass(frozen=True)
class Layer:
    """One layer of the stack."""

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    attention_output: nn.Linear
    attention_norm: nn.LayerNorm
    inner: nn.Linear
    outer: nn.Linear
    norm: nn.LayerNorm


@dataclass(frozen=True)
class Parts:
    """A classifier taken apart."""

    words: Tensor
    """Shape (vocabulary, embedding width)."""
    positions: Tensor
    """From the first position that a token can have, the embedding of token type 0 added, shape (positions, …)."""
    norm: nn.LayerNorm
    projection: nn.Linear | None
    """From the embedding's width to that of the layers."""
    layers: Sequence[Layer]
    heads: int
    activation: str
    head: Sequence[tuple[nn.Linear, str | None]]
    """What reads the first token: linear maps, each with the activation behind it."""


def take_apart(model: PreTrainedModel) -> Parts | None:
    """Return the parts of a BERT, RoBERTa, ELECTRA or DistilBERT classifier; nothing of any other."""
    family = _FAMILIES.get(type(model).__name__)
    if family is None or getattr(model.config, "is_decoder", False):
        return None
    return family(model)


def _stack(model: Any) -> Sequence[Any]:
    return list(layer_stack(model))


def _bert_layers(model: Any) -> list[Layer]:
    return [
        Layer(
            query=layer.attention.self.query,
            key=layer.attention.self.key,
            value=layer.attention.self.value,
            attention_output=layer.attention.output.dense,
            attention_norm=layer.attention.output.LayerNorm,
            inner=layer.intermediate.dense,
            outer=layer.output.dense,
            norm=layer.output.LayerNorm,
        )
        for layer in _stack(model)
    ]


def _bert_like(model: Any, encoder: Any, head: Sequence[tuple[nn.Linear, str | None]], *, first_position: int) -> Parts:
    embeddings = encoder.embeddings
    return Parts(
        words=embeddings.word_embeddings.weight,
        positions=embeddings.position_embeddings.weight[first_position:] + embeddings.token_type_embeddings.weight[0],
        norm=embeddings.LayerNorm,
        projection=getattr(encoder, "embeddings_project", None),
        layers=_bert_layers(model),
        heads=model.config.num_attention_heads,
        activation=model.config.hidden_act,
        head=head,
    )


def _bert(model: Any) -> Parts:
    return _bert_like(
        model, model.bert, [(model.bert.pooler.dense, "tanh"), (model.classifier, None)], first_position=0
    )


def _roberta(model: Any) -> Parts:
    head = [(model.classifier.dense, "tanh"), (model.classifier.out_proj, None)]
    # Positions are counted from behind the padding id.
    return _bert_like(model, model.roberta, head, first_position=model.config.pad_token_id + 1)


def _electra(model: Any) -> Parts:
    head = [(model.classifier.dense, "gelu"), (model.classifier.out_proj, None)]
    return _bert_like(model, model.electra, head, first_position=0)


def _distilbert(model: Any) -> Parts:
    embeddings = model.distilbert.embeddings
    layers = [
        Layer(
            query=layer.attention.q_lin,
            key=layer.attention.k_lin,
            value=layer.attention.v_lin,
            attention_output=layer.attention.out_lin,
            attention_norm=layer.sa_layer_norm,
            inner=layer.ffn.lin1,
            outer=layer.ffn.lin2,
            norm=layer.output_layer_norm,
        )
        for layer in _stack(model)
    ]
    return Parts(
        words=embeddings.word_embeddings.weight,
        positions=embeddings.position_embeddings.weight,
        norm=embeddings.LayerNorm,
        projection=None,
        layers=layers,
        heads=model.config.n_heads,
        activation=model.config.activation,
        head=[(model.pre_classifier, "relu"), (model.classifier, None)],
    )


_FAMILIES: Mapping[str, Callable[[Any], Parts]] = {
    "BertForSequenceClassification": _bert,
    "RobertaForSequenceClassification": _roberta,
    "ElectraForSequenceClassification": _electra,
    "DistilBertForSequenceClassification": _distilbert,
}
