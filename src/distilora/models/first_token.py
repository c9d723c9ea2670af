"""Computing of the last layer only what the classifier's head reads: the first token.

The head of BERT, RoBERTa, ELECTRA and DistilBERT reads the last layer's first hidden state and no other. So that layer
needs keys and values of all tokens, but query, attention output, feed-forward and norms of the first one alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MethodType
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from distilora.models.layers import layer_stack

_ASKS_FOR_ALL = ("output_hidden_states", "output_attentions")
_Compute = Callable[[Any, Tensor, Tensor | None], Tensor]


@contextmanager
def first_token_only(model: nn.Module) -> Iterator[None]:
    """Let a classifier's last layer compute only the first token meanwhile: the same logits and gradients, sooner.

    Logits and gradients differ by rounding alone, but dropout draws fewer random numbers. Where hidden states or
    attention maps are asked for, the layer computes all tokens. DeBERTa, whose attention has relative positions, and
    ModernBERT, whose head may read all tokens, are left as they are, and so is every attention but ``eager`` and
    ``sdpa``. Parameters and their names stay the same throughout.

    Args:
        model: a classifier, bare or with adapters; one whose last layer has a ``forward`` of its own, as within
            another such context, is left as it is.
    """
    classifier = next((module for module in model.modules() if type(module).__name__ in _FAMILIES), None)
    layer = _last_layer(classifier) if isinstance(classifier, PreTrainedModel) else None
    if classifier is None or layer is None:
        yield
        return
    compute = _FAMILIES[type(classifier).__name__]
    # A bound method, so that a copy of the layer computes with its own weights.
    vars(layer)["forward"] = MethodType(_forward(compute, classifier.config), layer)
    try:
        yield
    finally:
        del vars(layer)["forward"]


def _last_layer(classifier: PreTrainedModel) -> nn.Module | None:
    """Return the last layer, or nothing where its ``forward`` is replaced already or its attention is another kind."""
    config = classifier.config
    if config._attn_implementation not in ("eager", "sdpa") or getattr(config, "is_decoder", False):
        return None
    layer = layer_stack(classifier)[-1]
    return None if "forward" in vars(layer) else layer


def _forward(compute: _Compute, config: Any) -> Callable[..., Tensor]:
    """Return a layer's new method ``forward``."""

    def forward(layer: Any, states: Tensor, mask: Tensor | None = None, *others: Any, **options: Any) -> Any:
        if any(options.get(name, getattr(config, name)) for name in _ASKS_FOR_ALL):
            return type(layer).forward(layer, states, mask, *others, **options)
        return compute(layer, states, mask)

    return forward


def _bert(layer: Any, states: Tensor, mask: Tensor | None) -> Tensor:
    attention = layer.attention.self
    mixed = _attend(attention, (attention.query, attention.key, attention.value), states, mask)
    result: Tensor = layer.feed_forward_chunk(layer.attention.output(mixed, states[:, :1]))
    return result


def _distilbert(layer: Any, states: Tensor, mask: Tensor | None) -> Tensor:
    attention = layer.attention
    mixed = _attend(attention, (attention.q_lin, attention.k_lin, attention.v_lin), states, mask)
    mixed = layer.sa_layer_norm(attention.out_lin(mixed) + states[:, :1])
    result: Tensor = layer.output_layer_norm(layer.ffn.ff_chunk(mixed) + mixed)
    return result


def _attend(attention: Any, projections: Sequence[nn.Module], states: Tensor, mask: Tensor | None) -> Tensor:
    """Return what the first token gathers from all of ``states``, shape (batch, 1, width)."""
    query, key, value = (
        project(inputs).unflatten(-1, (-1, attention.attention_head_size)).transpose(1, 2)  # (batch, heads, tokens, …)
        for project, inputs in zip(projections, (states[:, :1], states, states), strict=True)
    )
    mixed = functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=None if mask is None else mask[:, :, :1],  # (batch, 1, query, key): True or 0 where it may look
        dropout_p=attention.dropout.p if attention.training else 0.0,
        scale=attention.scaling,
    )
    return mixed.transpose(1, 2).flatten(2)


_FAMILIES: Mapping[str, _Compute] = {
    "BertForSequenceClassification": _bert,
    "RobertaForSequenceClassification": _bert,
    "ElectraForSequenceClassification": _bert,
    "DistilBertForSequenceClassification": _distilbert,
}
