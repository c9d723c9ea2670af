"""Batches for one thread each: texts of like length, as many as pay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from distilora.bundles.tokens import Pieces

TOKENS_A_BATCH = 384
"""Padding included; on two processor threads the best of 128 to 1024: more no longer fits the caches."""
_MOST_PADDING = 8
"""Tokens of padding in one batch: more cost more than one more run of the model. Against batches as full as may be, 16
tweets at a time were 27 % faster, 32 17 %, 64 10 %, 128 6 %, 4,096 the same; 4 and 16 tokens did no better."""
LOOK_AHEAD_TEXTS = 4096
LOOK_AHEAD_CHARACTERS = 2_000_000
_FEWEST_TOKENS = 96
"""Texts are spread over idle threads, but not in batches smaller than this."""


def look_aheads(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield texts in order, as many at a time as may be sorted by length together; one empty list where none are.

    At most 4,096 texts, and 2 million characters unless it is one text, so that memory is bounded.

    Example:
        >>> [len(texts) for texts in look_aheads(["short"] * 5000)]
        [4096, 904]
    """
    start = characters = 0
    for index, text in enumerate(texts):
        characters += len(text)
        if index > start and (index - start == LOOK_AHEAD_TEXTS or characters > LOOK_AHEAD_CHARACTERS):
            yield list(texts[start:index])
            start, characters = index, len(text)
    yield list(texts[start:])


def batches(lengths: NDArray[np.int64], *, threads: int) -> list[NDArray[np.int64]]:
    """Return positions in batches, longest first: of at most 384 tokens, few of them padding, or of one piece.

    Where few tokens are left for each thread, batches are smaller, so that no thread is idle.

    Args:
        lengths: tokens of each piece, shape (pieces,).
        threads: how many batches run at once.

    Example:
        >>> [rows.tolist() for rows in batches(np.array([100, 300, 500, 180, 100]), threads=1)]
        [[2], [1], [3], [0, 4]]
    """
    if len(lengths) == 1:
        return [np.zeros(1, dtype=np.int64)]
    budget = min(TOKENS_A_BATCH, max(_FEWEST_TOKENS, -(-int(lengths.sum()) // threads)))
    order = np.argsort(-lengths, kind="stable")
    longest_first = lengths[order].tolist()
    found = []
    start = 0
    while start < len(order):
        stop = _stop(longest_first, start, budget=budget)
        found.append(order[start:stop])
        start = stop
    return found


def _stop(longest_first: list[int], start: int, *, budget: int) -> int:
    """Return the position behind the batch that begins at ``start``."""
    longest, padding = longest_first[start], 0
    last = min(len(longest_first), start + budget // longest)
    for stop in range(start + 1, last):
        padding += longest - longest_first[stop]
        if padding > _MOST_PADDING:
            return stop
    return max(last, start + 1)


def padded(pieces: Pieces, rows: NDArray[np.int64], *, pad_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ids and attention mask of some pieces, padded to the longest of them, shape (rows, tokens) each.

    Example:
        >>> ids, starts, lengths = np.array([101, 7, 102, 101, 102]), np.array([0, 3]), np.array([3, 2])
        >>> texts, cut = np.array([0, 1]), np.array([False, False])
        >>> pieces = Pieces(ids=ids, starts=starts, lengths=lengths, texts=texts, tokens=lengths, cut=cut)
        >>> padded(pieces, np.array([1, 0]), pad_id=0)[0].tolist()
        [[101, 102, 0], [101, 7, 102]]
    """
    if len(rows) == 1:
        start = pieces.starts[rows[0]]
        ids = pieces.ids[None, start : start + pieces.lengths[rows[0]]]
        return ids, np.ones_like(ids)
    starts, lengths = pieces.starts[rows], pieces.lengths[rows]
    columns = np.arange(lengths.max())
    mask = columns < lengths[:, None]  # (rows, tokens)
    # Behind the last text there is nothing to take; whatever is taken there is padding.
    ids = pieces.ids.take(starts[:, None] + columns, mode="clip")
    return np.where(mask, ids, pad_id), mask.astype(np.int64)
