"""ONNX graphs of BERT, RoBERTa, ELECTRA and DistilBERT classifiers, laid out for processors.

Three things make them faster than what ``torch.onnx.export`` writes, and change no logit beyond rounding:

* hidden states are (tokens, batch, width), so that attention needs one transposition a layer where (batch, tokens,
  width) needs four: ONNX Runtime's products of matrices take the others as strides;
* the last layer computes only the first token, which is all that the head reads;
* that layer's keys and values are never computed: q·(W x) = (Wᵀq)·x, and Σ pᵢ (W xᵢ + b) = W (Σ pᵢ xᵢ) + b, where the
  weights p of each head sum to 1; the key's bias shifts all scores of a head alike, which softmax does not see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from transformers import PreTrainedModel

from distilora.models.layers import layer_stack

OPSET = 20
_IR_VERSION = 10
_ACTIVATIONS: Mapping[str, tuple[str, dict[str, str]]] = {
    "gelu": ("Gelu", {}),
    "gelu_new": ("Gelu", {"approximate": "tanh"}),
    "gelu_pytorch_tanh": ("Gelu", {"approximate": "tanh"}),
    "relu": ("Relu", {}),
    "tanh": ("Tanh", {}),
}
_MASKED = np.float32(-1e9)
"""Added to the scores of padding: small enough to vanish in softmax, large enough to stay finite."""


@dataclass(frozen=True)
class _Layer:
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
class _Parts:
    """A classifier taken apart."""

    words: Tensor
    """Shape (vocabulary, embedding width)."""
    positions: Tensor
    """From the first position that a token can have, the embedding of token type 0 added, shape (positions, …)."""
    norm: nn.LayerNorm
    projection: nn.Linear | None
    """From the embedding's width to that of the layers."""
    layers: Sequence[_Layer]
    heads: int
    activation: str
    head: Sequence[tuple[nn.Linear, str | None]]
    """What reads the first token: linear maps, each with the activation behind it."""


def lean_graph(model: PreTrainedModel) -> onnx.ModelProto | None:
    """Return a classifier's graph with inputs ``input_ids`` and ``attention_mask`` and output ``logits``.

    Args:
        model: in evaluation mode, its weights float32 on a processor.

    Returns:
        The graph: inputs int64 of shape (batch, tokens), output float32 of shape (batch, labels). Nothing where the
        family, or an option of its configuration, is none that is known here.
    """
    take_apart = _FAMILIES.get(type(model).__name__)
    if take_apart is None or getattr(model.config, "is_decoder", False):
        return None
    parts = take_apart(model)
    if parts.activation not in _ACTIVATIONS:
        return None
    graph = _Graph()
    hidden = _embed(graph, parts)
    mask = graph.add(
        "Mul",
        graph.add("Sub", graph.constant("one", np.float32(1)), _as_float(graph)),
        graph.constant("masked", _MASKED),
    )  # (batch, tokens): 0 on tokens
    for layer in parts.layers[:-1]:
        hidden = _layer(graph, layer, parts, hidden, mask)
    first = _last_layer(graph, parts.layers[-1], parts, hidden, mask)
    for linear, activation in parts.head:
        first = graph.linear(first, linear)
        first = graph.activate(first, activation) if activation else first
    return graph.model(first, labels=model.config.num_labels)


class _Graph:
    """An ONNX graph that grows node by node; values are known by their names."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Return the name of a new node's output."""
        name = f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        """Return the name of a constant; the same name is the same constant."""
        self._constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def integers(self, *values: int) -> str:
        """Return the name of a constant list of integers."""
        return self.constant("integers_" + "_".join(map(str, values)), np.array(values, dtype=np.int64))

    def weight(self, value: NDArray[np.float32]) -> str:
        """Return the name of a constant that nothing else shares."""
        return self.constant(f"weight_{len(self._constants)}", value)

    def linear(self, hidden: str, linear: nn.Linear, *, scale: float = 1.0) -> str:
        """Return (hidden·Wᵀ + b)·scale."""
        product = self.add("MatMul", hidden, self.weight(_array(linear.weight).T * np.float32(scale)))
        return self.add("Add", product, self.weight(_array(linear.bias) * np.float32(scale)))

    def normed(self, hidden: str, norm: nn.LayerNorm) -> str:
        """Return the layer norm over the last axis."""
        weights = (self.weight(_array(norm.weight)), self.weight(_array(norm.bias)))
        return self.add("LayerNormalization", hidden, *weights, axis=-1, epsilon=norm.eps)

    def activate(self, hidden: str, activation: str) -> str:
        """Return an activation by its name in a configuration."""
        operator, attributes = _ACTIVATIONS[activation]
        return self.add(operator, hidden, **attributes)

    def model(self, logits: str, *, labels: int) -> onnx.ModelProto:
        """Return the finished model, checked."""
        self._nodes.append(helper.make_node("Identity", [logits], ["logits"], name="logits"))
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
            for name in ("input_ids", "attention_mask")
        ]
        output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", labels])
        graph = helper.make_graph(self._nodes, "classifier", inputs, [output], list(self._constants.values()))
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION, producer_name="distilora")
        onnx.checker.check_model(model)
        return model


def _array(weights: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = weights.detach().float().cpu().numpy()
    return array


def _as_float(graph: _Graph) -> str:
    return graph.add("Cast", "attention_mask", to=TensorProto.FLOAT)


def _embed(graph: _Graph, parts: _Parts) -> str:
    """Return the first layer's input, shape (tokens, batch, width)."""
    ids = graph.add("Transpose", "input_ids", perm=[1, 0])
    words = graph.add("Gather", graph.constant("word_embeddings", _array(parts.words)), ids)
    table = graph.constant("position_embeddings", _array(parts.positions)[:, None])  # (positions, 1, width)
    tokens = graph.add("Shape", "input_ids", start=1, end=2)
    zero = graph.integers(0)
    positions = graph.add("Slice", table, zero, tokens, zero)
    hidden = graph.normed(graph.add("Add", words, positions), parts.norm)
    return graph.linear(hidden, parts.projection) if parts.projection else hidden


def _layer(graph: _Graph, layer: _Layer, parts: _Parts, hidden: str, mask: str) -> str:
    """Return a layer's output for all tokens, shape (tokens, batch, width)."""
    width = layer.query.out_features
    size = width // parts.heads
    split, joined = graph.integers(0, 0, parts.heads, size), graph.integers(0, 0, width)
    query, key, value = (
        graph.add("Reshape", graph.linear(hidden, linear, scale=scale), split)
        for linear, scale in ((layer.query, size**-0.5), (layer.key, 1.0), (layer.value, 1.0))
    )  # (tokens, batch, heads, size)
    query, value = (graph.add("Transpose", states, perm=[1, 2, 0, 3]) for states in (query, value))
    key = graph.add("Transpose", key, perm=[1, 2, 3, 0])
    scores = graph.add("Add", graph.add("MatMul", query, key), graph.add("Unsqueeze", mask, graph.integers(1, 2)))
    mixed = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), value)  # (batch, heads, tokens, size)
    mixed = graph.add("Reshape", graph.add("Transpose", mixed, perm=[2, 0, 1, 3]), joined)
    return _behind_attention(graph, layer, parts, mixed, hidden)


def _last_layer(graph: _Graph, layer: _Layer, parts: _Parts, hidden: str, mask: str) -> str:
    """Return the last layer's output for the first token, shape (batch, width); see the top of this module."""
    width = layer.query.out_features
    size = width // parts.heads
    by_head = (parts.heads, size, layer.key.in_features)
    first = graph.add("Gather", hidden, graph.constant("first", np.int64(0)), axis=0)  # (batch, width)
    query = graph.add(
        "Reshape", graph.linear(first, layer.query, scale=size**-0.5), graph.integers(-1, parts.heads, size)
    )
    query = graph.add("Transpose", query, perm=[1, 0, 2])  # (heads, batch, size)
    looked_for = graph.add("MatMul", query, graph.weight(_array(layer.key.weight).reshape(by_head)))
    looked_for = graph.add("Transpose", looked_for, perm=[1, 0, 2])  # (batch, heads, width)
    scores = graph.add("MatMul", looked_for, graph.add("Transpose", hidden, perm=[1, 2, 0]))
    scores = graph.add("Add", scores, graph.add("Unsqueeze", mask, graph.integers(1)))  # (batch, heads, tokens)
    mixed = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), graph.add("Transpose", hidden, perm=[1, 0, 2]))
    mixed = graph.add("Transpose", mixed, perm=[1, 0, 2])  # (heads, batch, width)
    mixed = graph.add("MatMul", mixed, graph.weight(_array(layer.value.weight).reshape(by_head).transpose(0, 2, 1)))
    mixed = graph.add("Reshape", graph.add("Transpose", mixed, perm=[1, 0, 2]), graph.integers(-1, width))
    mixed = graph.add("Add", mixed, graph.weight(_array(layer.value.bias)))
    return _behind_attention(graph, layer, parts, mixed, first)


def _behind_attention(graph: _Graph, layer: _Layer, parts: _Parts, mixed: str, hidden: str) -> str:
    """Return what the rest of a layer makes of mixed values, with its input ``hidden`` added on the way."""
    states = graph.normed(graph.add("Add", graph.linear(mixed, layer.attention_output), hidden), layer.attention_norm)
    inner = graph.activate(graph.linear(states, layer.inner), parts.activation)
    return graph.normed(graph.add("Add", graph.linear(inner, layer.outer), states), layer.norm)


def _stack(model: Any) -> Sequence[Any]:
    return list(layer_stack(model))


def _bert_layers(model: Any) -> list[_Layer]:
    return [
        _Layer(
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


def _bert_like(
    model: Any, encoder: Any, head: Sequence[tuple[nn.Linear, str | None]], *, first_position: int
) -> _Parts:
    embeddings = encoder.embeddings
    return _Parts(
        words=embeddings.word_embeddings.weight,
        positions=embeddings.position_embeddings.weight[first_position:] + embeddings.token_type_embeddings.weight[0],
        norm=embeddings.LayerNorm,
        projection=getattr(encoder, "embeddings_project", None),
        layers=_bert_layers(model),
        heads=model.config.num_attention_heads,
        activation=model.config.hidden_act,
        head=head,
    )


def _bert(model: Any) -> _Parts:
    return _bert_like(
        model, model.bert, [(model.bert.pooler.dense, "tanh"), (model.classifier, None)], first_position=0
    )


def _roberta(model: Any) -> _Parts:
    head = [(model.classifier.dense, "tanh"), (model.classifier.out_proj, None)]
    # Positions are counted from behind the padding id.
    return _bert_like(model, model.roberta, head, first_position=model.config.pad_token_id + 1)


def _electra(model: Any) -> _Parts:
    head = [(model.classifier.dense, "gelu"), (model.classifier.out_proj, None)]
    return _bert_like(model, model.electra, head, first_position=0)


def _distilbert(model: Any) -> _Parts:
    embeddings = model.distilbert.embeddings
    layers = [
        _Layer(
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
    return _Parts(
        words=embeddings.word_embeddings.weight,
        positions=embeddings.position_embeddings.weight,
        norm=embeddings.LayerNorm,
        projection=None,
        layers=layers,
        heads=model.config.n_heads,
        activation=model.config.activation,
        head=[(model.pre_classifier, "relu"), (model.classifier, None)],
    )


_FAMILIES: Mapping[str, Callable[[Any], _Parts]] = {
    "BertForSequenceClassification": _bert,
    "RobertaForSequenceClassification": _roberta,
    "ElectraForSequenceClassification": _electra,
    "DistilBertForSequenceClassification": _distilbert,
}
