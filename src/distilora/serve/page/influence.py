"""Words of an explained text, each with the step of colour that its influence gets."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from distilora.serve.records import WordInfluence

STEPS = (0.005, 0.02, 0.05, 0.15, 0.4)
"""Influence from which on a word gets the first, second, … of the five colours of its direction.

They are the same for every text, so a text that no word decides stays uncoloured.
"""


class Piece(NamedTuple):
    """A part of a text: a word, or what stands between two."""

    text: str
    step: int = 0
    """From -5 (speaks most against the label) over 0 (says little) to 5 (speaks most for it)."""
    influence: float | None = None
    """Absent between words, and for words that were not weighed."""


def pieces(text: str, words: Sequence[WordInfluence]) -> list[Piece]:
    """Return the whole text in parts; joined they are the text again.

    Example:
        >>> [piece.text for piece in pieces("so bad!", [WordInfluence(word="bad", start=3, end=6, influence=0.5)])]
        ['so ', 'bad', '!']
    """
    return [piece for piece in _pieces(text, words) if piece.text]


def step_of(influence: float) -> int:
    """Return the step of colour of an influence.

    Example:
        >>> step_of(0.5), step_of(-0.04), step_of(0.004)
        (5, -2, 0)
    """
    size = bisect_right(STEPS, abs(influence))
    return size if influence > 0 else -size


def strongest(words: Sequence[WordInfluence], *, most: int = 10) -> list[WordInfluence]:
    """Return the words that moved the decision most, the strongest first."""
    return sorted(words, key=lambda word: -abs(word.influence))[:most]


def _pieces(text: str, words: Sequence[WordInfluence]) -> Iterator[Piece]:
    end = 0
    for word in words:
        yield Piece(text[end : word.start])
        yield Piece(text[word.start : word.end], step_of(word.influence), word.influence)
        end = word.end
    yield Piece(text[end:])
