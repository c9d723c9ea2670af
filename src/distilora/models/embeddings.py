"""Training only those rows of the word embeddings that the training texts use: the same weights in less time.

The gradient of every other row is exactly zero, yet a dense step makes, measures and applies a gradient for each: for a
small encoder a quarter of the step. Without weight decay, AdamW (Loshchilov & Hutter 2019, arxiv.org/abs/1711.05101)
leaves rows without gradients as they are, so the results are those of dense training, bit for bit; where gradients are
clipped, up to the rounding of their norm. With weight decay there is one difference: rows that no training text uses do
not shrink.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from distilora.errors import ModelError


class SeenRowsEmbedding(nn.Module):
    """Word embeddings of which only the rows of given tokens are trained.

    It stands where an ``nn.Embedding`` stood, and its state dict is that one's: one ``weight`` of shape (tokens, width)
    with the trained rows in it. So checkpoints and hashes are the same with and without it.

    Args:
        table: the embeddings; its weights are taken over, not copied, and must not be used elsewhere meanwhile.
        token_ids: the tokens to train, in any order; the padding token is kept with them, untrained as ever.
    """

    weight: nn.Parameter
    """All rows, frozen; those of the kept tokens are out of date until :meth:`whole` or a restore."""
    seen: nn.Parameter
    """The trained rows, by rising token id, shape (kept tokens, width)."""
    kept_ids: Tensor
    """Token id of each row of ``seen``."""
    row_of: Tensor
    """Row of ``seen`` for each token id, or -1."""

    def __init__(self, table: nn.Embedding, token_ids: Sequence[int] | NDArray[np.integer[Any]]) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = table.num_embeddings, table.embedding_dim
        self.padding_idx = table.padding_idx
        ids = _kept_ids(table, token_ids).to(table.weight.device)
        row_of = torch.full((table.num_embeddings,), -1, device=ids.device)
        row_of[ids] = torch.arange(len(ids), device=ids.device)
        self.register_buffer("kept_ids", ids, persistent=False)
        self.register_buffer("row_of", row_of, persistent=False)
        self.weight = nn.Parameter(table.weight.detach(), requires_grad=False)
        self.seen = nn.Parameter(self.weight[ids])
        self._padding_row = None if table.padding_idx is None else int(row_of[table.padding_idx])

    def forward(self, token_ids: Tensor) -> Tensor:
        """Return the embeddings of tokens: shape of ``token_ids`` with the width appended."""
        rows = self.row_of[token_ids]
        seen = rows >= 0
        if bool(seen.all()):
            return functional.embedding(rows, self.seen, self._padding_row)
        trained = functional.embedding(rows.clamp(min=0), self.seen, self._padding_row)
        return torch.where(seen.unsqueeze(-1), trained, functional.embedding(token_ids, self.weight))

    def whole(self) -> Tensor:
        """Return a copy of all rows with the trained ones in place, shape (tokens, width)."""
        return self.weight.detach().index_copy(0, self.kept_ids, self.seen.detach())

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:  # noqa: ARG002
        destination[f"{prefix}weight"] = self.whole()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *options: Any) -> None:
        table = state_dict.get(f"{prefix}weight")
        if table is not None and len(table) == self.num_embeddings:
            state_dict[f"{prefix}seen"] = table[self.kept_ids.to(table.device)]
        super()._load_from_state_dict(state_dict, prefix, *options)


def _kept_ids(table: nn.Embedding | SeenRowsEmbedding, token_ids: Sequence[int] | NDArray[np.integer[Any]]) -> Tensor:
    """Return each id once, ascending, with the padding id, as int64."""
    ids = np.unique(np.asarray(token_ids, dtype=np.int64))
    if len(ids) and not 0 <= ids[0] <= ids[-1] < table.num_embeddings:
        raise ModelError(f"token ids {ids[0]} to {ids[-1]}: the encoder has only ids 0 to {table.num_embeddings - 1}")
    if table.padding_idx is not None:
        ids = np.union1d(ids, [table.padding_idx])
    return torch.from_numpy(ids)


def keep_seen_rows(model: PreTrainedModel, token_ids: Sequence[int] | NDArray[np.integer[Any]]) -> None:
    """Let training change only the word embeddings of these tokens; the model computes what it computed before.

    Do this before the optimizer is made, and :func:`restore_all_rows` after training: until then the model counts
    other parameters than it has, but its state dict, and so what is saved of it, is that of the plain model. A model
    whose word embeddings are frozen is left as it is: there is nothing to gain. Asked again, with other tokens, it
    starts over with those.

    Weight decay on the embeddings shrinks the kept rows only, where dense training would shrink all.

    Args:
        model: a classifier; its word embeddings are exchanged.
        token_ids: all ids of the training texts, in any order, repeated or not.

    Raises:
        ModelError: an id is outside the encoder's vocabulary.
    """
    table = model.get_input_embeddings()
    if isinstance(table, SeenRowsEmbedding):
        if torch.equal(table.kept_ids.cpu(), _kept_ids(table, token_ids)):
            return
        restore_all_rows(model)
        table = model.get_input_embeddings()
    if table.weight.requires_grad:
        model.set_input_embeddings(SeenRowsEmbedding(table, token_ids))


def restore_all_rows(model: PreTrainedModel) -> None:
    """Put plain word embeddings back, the trained rows in place; a model that has them already stays as it is."""
    table = model.get_input_embeddings()
    if isinstance(table, SeenRowsEmbedding):
        with torch.no_grad():
            table.weight.index_copy_(0, table.kept_ids, table.seen)
        model.set_input_embeddings(_plain(table))


def _plain(table: SeenRowsEmbedding) -> nn.Embedding:
    """Return plain embeddings over the same memory, trainable."""
    return nn.Embedding(table.num_embeddings, table.embedding_dim, table.padding_idx, _weight=table.weight.detach())
