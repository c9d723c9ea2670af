"""ONNX graphs of BERT, RoBERTa, ELECTRA and DistilBERT classifiers, laid out for processors.

Two things make them faster than what ``torch.onnx.export`` writes, and change no logit beyond rounding:

* hidden states are (tokens, batch, width), so that attention needs one transposition a layer where (batch, tokens,
  width) needs four: ONNX Runtime's products of matrices take the others as strides;
* the last layer computes only the first token's query, which is all that the head reads.

A graph that will be quantised also has its outliers moved and kept apart, see
:mod:`distilora.export.smoothing`; that costs about 5 % of the speed and halves the error of int8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from distilora.export.graph_builder import ACTIVATIONS, GraphBuilder, array_of
from distilora.export.parts import Layer, Parts, take_apart
from distilora.export.smoothing import Smoothing

_MASKS = np.array([-1e9, 0], dtype=np.float32)
"""Added to the scores of padding and of tokens: the one vanishes in softmax and is finite all the same."""


@dataclass(frozen=True)
class _States:
    """Hidden states of shape (tokens, batch, width) or (batch, width), as a graph knows them."""

    plain: str
    divided: str
    """The same with each channel divided by its scale."""
    scales: NDArray[np.float32] | None = None
    """Shape (width,); absent where both are the same."""


def lean_graph(
    model: PreTrainedModel,
    *,
    max_length: int | None = None,
    peaks: Mapping[str, NDArray[np.float32]] | None = None,
) -> onnx.ModelProto | None:
    """Return a classifier's graph with inputs ``input_ids`` and ``attention_mask`` and output ``logits``.

    Args:
        model: in evaluation mode, its weights float32 on a processor.
        max_length: longest input in tokens; positions behind it are left out. Absent: all are kept.
        peaks: as :func:`distilora.export.smoothing.find_outliers` returns them; for a graph that will be quantised.

    Returns:
        The graph: inputs int64 of shape (batch, tokens), output float32 of shape (batch, labels). Nothing where the
        family, or an option of its configuration, is none that is known here.
    """
    parts = take_apart(model)
    if parts is None or parts.activation not in ACTIVATIONS:
        return None
    smoothing = None if peaks is None else Smoothing(peaks, {part: name for name, part in model.named_modules()})
    return _Layout(parts, smoothing).model(labels=model.config.num_labels, max_length=max_length)


class _Layout:
    """How the parts of one classifier are laid out."""

    def __init__(self, parts: Parts, smoothing: Smoothing | None) -> None:
        self._parts = parts
        self._smoothing = smoothing
        self._graph = GraphBuilder()

    def model(self, *, labels: int, max_length: int | None) -> onnx.ModelProto:
        """Return the finished model."""
        parts = self._parts
        mask = self._mask()
        hidden = self._embedded(max_length)
        for layer, following in pairwise(parts.layers):
            hidden = self._layer(layer, hidden, mask, readers=(following.query, following.key, following.value))
        first = self._last_layer(parts.layers[-1], hidden, mask)
        for linear, activation in parts.head:
            first = self._graph.linear(first, linear)
            first = self._graph.activate(first, activation) if activation else first
        return self._graph.model(first, labels=labels)

    def _mask(self) -> str:
        """Return what is added to attention's scores, shape (batch, 1, 1, tokens): 0 on tokens."""
        chosen = self._graph.add("Gather", self._graph.constant("masked_or_not", _MASKS), "attention_mask")
        return self._graph.add("Unsqueeze", chosen, self._graph.integers(1, 2))

    def _embedded(self, max_length: int | None) -> _States:
        graph, parts = self._graph, self._parts
        ids = graph.add("Transpose", "input_ids", perm=[1, 0])
        words = graph.add("Gather", graph.constant("word_embeddings", array_of(parts.words)), ids)
        positions = array_of(parts.positions)[:max_length, None]  # (positions, 1, width)
        tokens = graph.add("Shape", "input_ids", start=1, end=2)
        zero = graph.integers(0)
        table = graph.add("Slice", graph.constant("position_embeddings", positions), zero, tokens, zero)
        hidden = graph.normed(graph.add("Add", words, table), parts.norm)
        hidden = graph.linear(hidden, parts.projection) if parts.projection else hidden
        return _States(hidden, hidden)

    def _layer(self, layer: Layer, hidden: _States, mask: str, *, readers: tuple[nn.Linear, ...]) -> _States:
        """Return a layer's output for all tokens; ``readers`` are the maps that will read it."""
        graph, heads = self._graph, self._parts.heads
        width, size = layer.query.out_features, layer.query.out_features // self._parts.heads
        query = graph.linear(hidden.divided, layer.query, scale=size**-0.5, rows=hidden.scales)
        query = graph.add("Reshape", query, graph.integers(0, 0, heads, size))  # (tokens, batch, heads, size)
        mixed = self._mixed(layer, graph.add("Transpose", query, perm=[1, 2, 0, 3]), hidden, mask)
        mixed = graph.add("Reshape", graph.add("Transpose", mixed, perm=[2, 0, 1, 3]), graph.integers(0, 0, width))
        return self._normed(self._behind_attention(layer, mixed, hidden.plain), layer.norm, readers=readers)

    def _last_layer(self, layer: Layer, hidden: _States, mask: str) -> str:
        """Return the last layer's output for the first token, shape (batch, width)."""
        graph, heads = self._graph, self._parts.heads
        width, size = layer.query.out_features, layer.query.out_features // self._parts.heads
        index = graph.constant("first", np.int64(0))
        query = graph.linear(
            graph.add("Gather", hidden.divided, index, axis=0), layer.query, scale=size**-0.5, rows=hidden.scales
        )  # (batch, width)
        query = graph.add("Reshape", query, graph.integers(-1, heads, 1, size))
        mixed = graph.add("Reshape", self._mixed(layer, query, hidden, mask), graph.integers(-1, width))
        first = graph.add("Gather", hidden.plain, index, axis=0)
        return graph.normed(self._behind_attention(layer, mixed, first), layer.norm)

    def _mixed(self, layer: Layer, query: str, hidden: _States, mask: str) -> str:
        """Return what queries of shape (batch, heads, queries, size) gather from all tokens, in the same shape."""
        graph, heads = self._graph, self._parts.heads
        split = graph.integers(0, 0, heads, layer.query.out_features // heads)
        key, value = (
            graph.add("Reshape", graph.linear(hidden.divided, linear, rows=hidden.scales), split)
            for linear in (layer.key, layer.value)
        )  # (tokens, batch, heads, size)
        scores = graph.add("MatMul", query, graph.add("Transpose", key, perm=[1, 2, 3, 0]))
        scores = graph.add("Add", scores, mask)
        shares = graph.add("Softmax", scores, axis=-1)  # (batch, heads, queries, tokens)
        return graph.add("MatMul", shares, graph.add("Transpose", value, perm=[1, 2, 0, 3]))

    def _behind_attention(self, layer: Layer, mixed: str, hidden: str) -> str:
        """Return the sum that a layer's last norm reads, of mixed values and the layer's input ``hidden``."""
        graph = self._graph
        attended = graph.add("Add", graph.linear(mixed, layer.attention_output), hidden)
        states = self._normed(attended, layer.attention_norm, readers=(layer.inner,))
        groups = self._smoothing.groups(layer.outer) if self._smoothing else [None]
        total = states.plain
        for channels in groups:
            inner = graph.linear(states.divided, layer.inner, rows=states.scales, columns=channels)
            inner = graph.activate(inner, self._parts.activation)
            # The bias belongs to the sum, so the last group alone adds it.
            outer = graph.linear(inner, layer.outer, taken=channels, biased=channels is groups[-1])
            total = graph.add("Add", outer, total)
        return total

    def _normed(self, hidden: str, norm: nn.LayerNorm, *, readers: tuple[nn.Linear, ...]) -> _States:
        graph = self._graph
        if self._smoothing is None:
            plain = graph.normed(hidden, norm)
            return _States(plain, plain)
        scales = self._smoothing.scales(readers)
        divided = graph.normed(hidden, norm, scale=np.float32(1) / scales)
        return _States(graph.add("Mul", divided, graph.weight(scales)), divided, scales)
