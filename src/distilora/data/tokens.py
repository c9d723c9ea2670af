"""Texts as token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

_TEXTS_A_CALL = 4096
_MULTIPLE = 4


class Tokenizer(Protocol):
    """What is needed of a tokenizer: those of ``transformers`` have it."""

    pad_token_id: Any

    def __call__(self, text: list[str], /, **options: Any) -> Mapping[str, Any]:
        """Return ``input_ids``, a list of ids for each text."""
        ...


@dataclass(frozen=True, eq=False)
class EncodedTexts:
    """Token ids of many texts, one behind the other, special tokens included, nothing padded."""

    ids: NDArray[np.int64]
    """All ids, shape (tokens,)."""
    starts: NDArray[np.int64]
    """Where each text begins in ``ids``, and the end, shape (texts + 1,)."""
    pad_id: int

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.starts) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Return the tokens of each text, shape (texts,)."""
        return np.diff(self.starts)

    def padded(self, rows: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return ids and attention mask of some texts, padded to the longest of them, or to a little more.

        Lengths are rounded up to a multiple of 4, but never above the longest of all texts: libraries for matrix
        products prepare code for each shape they meet, and so meet a third of the shapes at 5 % more padding.

        Args:
            rows: positions of the texts.

        Returns:
            Two arrays of shape (len(rows), length); the mask is 1 on tokens and 0 on padding.

        Example:
            >>> texts = EncodedTexts(np.array([101, 7, 102, 101, 102]), np.array([0, 3, 5]), pad_id=0)
            >>> texts.padded([1, 0])[0].tolist()
            [[101, 102, 0], [101, 7, 102]]
        """
        lengths = self.lengths[np.asarray(rows)]
        longest = int(lengths.max(initial=0))
        length = min(-(-longest // _MULTIPLE) * _MULTIPLE, int(self.lengths.max(initial=0)))
        mask = np.arange(length) < lengths[:, None]  # (rows, length)
        ids = np.full(mask.shape, self.pad_id, dtype=np.int64)
        ids[mask] = np.concatenate([self.ids[self.starts[row] : self.starts[row + 1]] for row in rows])
        return ids, mask.astype(np.int64)


def chosen_texts(texts: EncodedTexts, rows: NDArray[np.int64]) -> EncodedTexts:
    """Return some of the texts, in the order of ``rows``, positions of shape (chosen,).

    Example:
        >>> texts = EncodedTexts(np.array([101, 7, 102, 101, 102]), np.array([0, 3, 5]), pad_id=0)
        >>> chosen_texts(texts, np.array([1, 0])).ids
        array([101, 102, 101,   7, 102])
    """
    pieces = [texts.ids[texts.starts[row] : texts.starts[row + 1]] for row in rows]
    starts = np.concatenate([[0], np.cumsum(texts.lengths[rows])]).astype(np.int64)
    return EncodedTexts(ids=np.concatenate(pieces), starts=starts, pad_id=texts.pad_id)


def encode_texts(texts: Sequence[str], tokenizer: Tokenizer, *, max_length: int | None) -> EncodedTexts:
    """Return the token ids of texts.

    Args:
        texts: to encode.
        tokenizer: of the encoder.
        max_length: texts are cut to so many tokens, special tokens included; ``None``: not at all.
    """
    pieces: list[list[int]] = []
    for start in range(0, len(texts), _TEXTS_A_CALL):
        batch = list(texts[start : start + _TEXTS_A_CALL])
        answer = tokenizer(
            batch,
            truncation=max_length is not None,
            max_length=max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,  # else a text over the model's length is warned of, though it may be cut later
        )
        pieces.extend(answer["input_ids"])
    lengths = np.fromiter((len(piece) for piece in pieces), dtype=np.int64, count=len(pieces))
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = np.fromiter((token for piece in pieces for token in piece), dtype=np.int64, count=int(starts[-1]))
    return EncodedTexts(ids=ids, starts=starts, pad_id=int(tokenizer.pad_token_id or 0))
