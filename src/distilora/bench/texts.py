"""The texts that a benchmark runs on."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from distilora.data.columns import choose_text
from distilora.data.faults import text_problem
from distilora.data.opening import open_file
from distilora.data.sources import read_comments
from distilora.errors import DataError

_TRIES = 4
"""Beginnings tried for each text of an exact length that is wanted."""


def read_texts(source: str, *, text: str | None = None, rows: int = 1000, seed: int = 0) -> list[str]:
    """Return texts drawn at random from a file, each row at most once; all of them where there are no more.

    Rows without a readable text are left out; labels are not looked at.

    Args:
        source: ``sample``, or a CSV, TSV, JSONL or Parquet file.
        text: column of the text; absent: guessed where there is one good guess.
        rows: how many to draw.
        seed: of the draw.

    Raises:
        DataError: the file or its column cannot be used, or no row has a text.
        MissingExtraError: Parquet without pyarrow.

    Example:
        >>> len(read_texts("sample", rows=20))
        20
    """
    texts = list(read_comments("sample").texts if source == "sample" else _texts(source, text=text))
    if not texts:
        raise DataError(f"{source}: no row has a text; give a file with at least one")
    drawn = np.random.default_rng(seed).choice(len(texts), size=min(rows, len(texts)), replace=False)
    return [texts[row] for row in drawn]


def _texts(source: str, *, text: str | None) -> Iterator[str]:
    table = open_file(source)
    for row in table.rows([choose_text(table, text=text)]):
        if row.problem is None:
            (value,) = row.values
            if isinstance(value, str) and text_problem(value) is None:
                yield value


def texts_of_length(
    texts: Sequence[str], tokens: int, *, amount: int, count: Callable[[Sequence[str]], Sequence[int]], seed: int = 0
) -> list[str]:
    """Return texts of exactly so many tokens, made of words that follow each other in other texts.

    Each begins at another word. Its last word is cut where whole words do not come to that length, as where a writing
    has no spaces. Where there are fewer such texts than are wanted, they come again; where there are none, since a
    tokenizer's steps pass over that length, the texts are those next longer.

    Args:
        texts: with at least one word; after their last word the first follows.
        tokens: of each text, the special ones included.
        amount: how many texts to return.
        count: a model's own tokenizer: returns the tokens of each text, the special ones included, nothing cut off.
        seed: of the words that they begin at.

    Raises:
        DataError: there is no word in the texts.

    Example:
        >>> def count(texts): return [len(text.split()) + 2 for text in texts]
        >>> texts_of_length(["a b", "c"], 4, amount=3, count=count)
        ['c a', 'a b', 'b c']
    """
    words = " ".join(texts).split()
    if not words:
        raise DataError("there is no word in the texts to make others of; give texts with words")
    starts = np.random.default_rng(seed).permutation(len(words))[: _TRIES * amount].tolist()
    made = (_beginning(_from(words, start, words_wanted=tokens), tokens, count=count) for start in starts)
    exact: list[str] = []
    others: list[str] = []
    for text in made:
        (exact if count([text])[0] == tokens else others).append(text)
        if len(exact) == amount:
            return exact
    found = exact or others
    return [found[number % len(found)] for number in range(amount)]


def _from(words: Sequence[str], start: int, *, words_wanted: int) -> list[str]:
    return [words[(start + step) % len(words)] for step in range(words_wanted)]


def _beginning(words: Sequence[str], tokens: int, *, count: Callable[[Sequence[str]], Sequence[int]]) -> str:
    """Return the shortest beginning of a text, in whole words if that will do, that has so many tokens or more."""

    def words_tokens(taken: int) -> int:
        return count([" ".join(words[:taken])])[0]

    def characters_tokens(taken: int) -> int:
        return count([whole[:taken]])[0]

    taken = bisect_left(range(len(words)), tokens, lo=1, key=words_tokens)
    whole = " ".join(words[:taken])
    if words_tokens(taken) == tokens:
        return whole
    return whole[: bisect_left(range(len(whole)), tokens, key=characters_tokens)]
