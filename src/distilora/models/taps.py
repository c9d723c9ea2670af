"""What each layer of an encoder computes inside: its queries, keys, values, attention scores and hidden states.

Hooks listen while the model runs as it always does, whatever its attention code: scores are computed again from what
was heard, and only where somebody asks for them. So they have no dropout, and gradients flow through them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from distilora.errors import ModelError
from distilora.models.layers import layer_index, layer_stack


@dataclass(frozen=True, eq=False)
class LayerInside:
    """What one layer computed in the last forward pass; padding is not taken out."""

    queries: Tensor
    """Shape (batch, heads, tokens, head width), as are keys and values; ModernBERT's turned by position already."""
    keys: Tensor
    values: Tensor
    states: Tensor
    """The layer's output, shape (batch, tokens, width): of the last layer too without the norm that may follow it."""
    window: int | None
    """How many places away a token may look, both ways; nothing where it sees the whole text."""
    scale: float
    """What the products of queries and keys are multiplied by."""
    positions: Callable[[Tensor, Tensor], Tensor] | None = None
    """From queries and keys to DeBERTa's part of the scores that depends on how far apart tokens are."""

    def scores(self) -> Tensor:
        """Return the attention scores before softmax, without any mask, shape (batch, heads, tokens, tokens).

        The softmax of a row over the tokens that may be seen, :func:`token_pairs`, is where its token attends to.
        """
        scores = self.queries @ self.keys.transpose(-1, -2) * self.scale
        return scores if self.positions is None else scores + self.positions(self.queries, self.keys)


def token_pairs(attention_mask: Tensor, *, window: int | None = None) -> Tensor:
    """Return which tokens may look at which: both real, and at most ``window`` places apart.

    Args:
        attention_mask: 1 on tokens, 0 on padding, shape (batch, tokens).
        window: see :attr:`LayerInside.window`; absent: the whole text.

    Returns:
        True and false, shape (batch, 1, tokens that look, tokens seen).

    Example:
        >>> token_pairs(torch.tensor([[1, 1, 0]])).int().tolist()
        [[[[1, 1, 0], [1, 1, 0], [0, 0, 0]]]]
    """
    real = attention_mask.bool()
    pairs = real[:, None, :, None] & real[:, None, None, :]
    if window is None:
        return pairs
    place = torch.arange(real.shape[1], device=real.device)
    near: Tensor = (place[:, None] - place).abs() <= window
    return pairs & near


class LayerTaps:
    """The layers that :func:`tap_layers` listens to, by number from 1; each forward pass replaces what was heard."""

    def __init__(self, ears: Mapping[int, _Ear]) -> None:
        self._ears = ears

    def __getitem__(self, number: int) -> LayerInside:
        """Return what the layer of this number computed in the last forward pass.

        Raises:
            ModelError: the layer is not listened to, or did not run whole.
        """
        if number not in self._ears:
            raise ModelError(f"layer {number} is not listened to: take one of {', '.join(map(str, self._ears))}")
        heard = self._ears[number].heard
        if heard is None:
            raise ModelError(
                f"layer {number} was not run, or for the first token alone: run the model with output_hidden_states"
            )
        return heard


@contextmanager
def tap_layers(model: nn.Module, numbers: Sequence[int] | None = None) -> Iterator[LayerTaps]:
    """Listen to layers of an encoder meanwhile; what was heard last stays readable until the end.

    Within :func:`distilora.models.first_token.first_token_only` the last layer runs whole only where the model is
    called with ``output_hidden_states=True``.

    Args:
        model: an encoder or a classifier on one, bare or with adapters.
        numbers: the layers, from 1; absent: all.

    Raises:
        ModelError: the family is none that distilora knows.
    """
    encoder = next((module for module in model.modules() if isinstance(module, PreTrainedModel)), None)
    if encoder is None:
        raise ModelError(f"{type(model).__name__} is no encoder and has none inside")
    layers = layer_stack(encoder)
    chosen = range(1, len(layers) + 1) if numbers is None else numbers
    family = _FAMILIES[encoder.config.model_type]
    ears = {number: _Ear(layers[layer_index(number)], family) for number in chosen}
    with ExitStack() as hooks:
        for ear in ears.values():
            ear.listen(hooks)
        yield LayerTaps(ears)


class _Family(NamedTuple):
    """Where a layer's attention is, which of its modules to listen to, and how to read what they returned."""

    attention: str
    parts: tuple[str, ...]
    read: Callable[[Any, Mapping[str, Tensor], Mapping[str, Any]], dict[str, Any]]
    """From the attention, what its parts returned first, and its keyword arguments to fields of LayerInside."""


@dataclass(eq=False)
class _Ear:
    """Listens to one layer."""

    layer: nn.Module
    family: _Family
    heard: LayerInside | None = None
    _returned: dict[str, Tensor] = field(default_factory=dict)
    _arguments: Mapping[str, Any] = field(default_factory=dict)
    _open: bool = False

    def listen(self, hooks: ExitStack) -> None:
        """Put the hooks in; they are taken out, and what was heard is let go, when ``hooks`` is left."""
        hooks.callback(self.forget)
        attention = self.layer.get_submodule(self.family.attention)
        handles = [
            self.layer.register_forward_pre_hook(lambda *_: self.forget()),
            attention.register_forward_pre_hook(self._begin, with_kwargs=True),
            *(attention.get_submodule(part).register_forward_hook(self._hear(part)) for part in self.family.parts),
            attention.register_forward_hook(lambda *_: self._end()),
            self.layer.register_forward_hook(self._finish),
        ]
        for handle in handles:
            hooks.callback(handle.remove)

    def forget(self) -> None:
        """Let go of what was heard."""
        self.heard, self._returned, self._arguments, self._open = None, {}, {}, False

    def _begin(self, attention: nn.Module, _: Any, arguments: Mapping[str, Any]) -> None:  # noqa: ARG002
        self._arguments, self._open = arguments, True

    def _end(self) -> None:
        self._open = False

    def _hear(self, part: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hear(module: nn.Module, _: Any, returned: Tensor) -> None:  # noqa: ARG001
            # DeBERTa projects its relative positions too, after the tokens, with the same modules.
            if self._open:
                self._returned.setdefault(part, returned)

        return hear

    def _finish(self, layer: nn.Module, _: Any, output: Tensor | tuple[Tensor, ...]) -> None:  # noqa: ARG002
        if not self._returned:  # the attention was passed by: only part of the layer was computed
            return
        attention = self.layer.get_submodule(self.family.attention)
        inside = self.family.read(attention, self._returned, self._arguments)
        self.heard = LayerInside(states=output if isinstance(output, Tensor) else output[0], **inside)
        self._returned, self._arguments = {}, {}


def _heads(projected: Tensor, width: int) -> Tensor:
    """Return (batch, heads, tokens, head width) of (batch, tokens, heads · head width)."""
    return projected.reshape(*projected.shape[:-1], -1, width).transpose(1, 2)


def _read_three(attention: Any, returned: Mapping[str, Tensor], _: Mapping[str, Any]) -> dict[str, Any]:
    queries, keys, values = (_heads(part, attention.attention_head_size) for part in returned.values())
    return {"queries": queries, "keys": keys, "values": values, "window": None, "scale": attention.scaling}


def _read_deberta(attention: Any, returned: Mapping[str, Tensor], arguments: Mapping[str, Any]) -> dict[str, Any]:
    queries, keys, values = (
        _heads(returned[part], attention.attention_head_size) for part in ("query_proj", "key_proj", "value_proj")
    )
    kinds = 1 + sum(kind in attention.pos_att_type for kind in ("c2p", "p2c"))  # content to position, and back
    scale = (kinds * attention.attention_head_size) ** -0.5
    found = {"queries": queries, "keys": keys, "values": values, "window": None, "scale": scale}
    if not attention.relative_attention or kinds == 1:
        return found
    distances, embeddings = arguments.get("relative_pos"), returned["pos_dropout"]

    def positions(queries: Tensor, keys: Tensor) -> Tensor:
        flat = (part.flatten(0, 1) for part in (queries, keys))  # (batch · heads, tokens, head width)
        scores: Tensor = attention.disentangled_attention_bias(*flat, distances, embeddings, kinds)
        return scores.reshape(*queries.shape[:2], *scores.shape[1:])

    return {**found, "positions": positions}


def _read_modernbert(attention: Any, returned: Mapping[str, Tensor], arguments: Mapping[str, Any]) -> dict[str, Any]:
    width = attention.head_dim
    queries, keys, values = (_heads(part, width) for part in returned["Wqkv"].chunk(3, dim=-1))
    cos, sin = (part[:, None] for part in arguments["position_embeddings"])  # (1, 1, tokens, head width)
    # The module's own window counts the token itself.
    window = None if attention.sliding_window is None else attention.sliding_window - 1
    return {
        "queries": _turned(queries, cos, sin),
        "keys": _turned(keys, cos, sin),
        "values": values,
        "window": window,
        "scale": width**-0.5,
    }


def _turned(vectors: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return vectors with each pair (i, i + half the width) turned by its token's angles, computed in float32.

    Source:
        Su et al. (2021), §3.4, https://arxiv.org/abs/2104.09864.
    """
    first, second = vectors.float().chunk(2, dim=-1)
    turned = vectors.float() * cos + torch.cat((-second, first), dim=-1) * sin
    return turned.to(vectors.dtype)


_BERT = _Family("attention.self", ("query", "key", "value"), _read_three)
_FAMILIES: Mapping[str, _Family] = {
    "bert": _BERT,
    "roberta": _BERT,
    "electra": _BERT,
    "distilbert": _Family("attention", ("q_lin", "k_lin", "v_lin"), _read_three),
    "deberta-v2": _Family("attention.self", ("query_proj", "key_proj", "value_proj", "pos_dropout"), _read_deberta),
    "modernbert": _Family("attn", ("Wqkv",), _read_modernbert),
}
