"""More training texts from those there are: each way a pure function of text and seed.

For training rows only, after the data are split: a changed copy of a training text in validation or test would be a
leak, and a changed validation text would measure something else. Words are what stands between white space; which of
them change follows from the text and the seed alone, not from the order of the texts or the process.

Source:
    Wei & Zou (2019), EDA, https://arxiv.org/abs/1901.11196, for random deletion and swap, and for changing a tenth of
    the words, at which labels mostly hold. A dropped word can be the very one that made a comment offensive, so the
    share is small; validation must show that it helps.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, zip_longest
from types import MappingProxyType
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from distilora.data.faults import nearest
from distilora.data.letters import (
    Word,
    drawing,
    picked,
    share_of,
    with_changed_words,
    with_two_swapped,
    without_one_letter,
)
from distilora.errors import ConfigError

_TENTH = 0.1
_WORD = re.compile(r"\S+")


class AugmentationFunction(Protocol):
    """What makes a changed copy."""

    def __call__(self, text: str, seed: int, *, share: float = ...) -> str:
        """Return the text with ``share`` of its words changed, from 0 to 1."""
        ...


class Augmentation(NamedTuple):
    """One way to change a training text."""

    apply: AugmentationFunction
    description: str
    """What it does, in one line, with its default strength."""


class AugmentedRows(NamedTuple):
    """The training texts, and behind them their changed copies."""

    texts: list[str]
    labels: NDArray[np.int64]
    """Index of each text's class, shape (texts,)."""
    rows: NDArray[np.int64]
    """Which of the training texts each is, or is a copy of, shape (texts,)."""


def word_dropout(text: str, seed: int, *, share: float = _TENTH) -> str:
    """Return the text without some of its words, each left out with the white space behind it, but never without all.

    Args:
        text: any text.
        seed: from 0.
        share: of the words, from 0 to 1, rounded up.

    Raises:
        ValueError: ``share`` is not from 0 to 1.

    Example:
        >>> word_dropout("why do those people always ruin everything", seed=1, share=0.2)
        'do those people ruin everything'
    """
    words, gaps = _words_and_gaps(text)
    dropped = _ranked(len(words), text, seed)[: min(share_of(share, len(words)), max(0, len(words) - 1))]
    for index in sorted(dropped, reverse=True):
        del words[index]
        # Of the white space on both sides that behind the word goes, but the text's own end stays.
        del gaps[min(index + 1, len(gaps) - 2)]
    return _joined(words, gaps)


def word_swap(text: str, seed: int, *, share: float = _TENTH) -> str:
    """Return the text with some pairs of neighbouring words exchanged, no word in two pairs; white space stays.

    Args:
        text: any text.
        seed: from 0.
        share: pairs over words, from 0 to 1, rounded up; as many as fit side by side at most.

    Raises:
        ValueError: ``share`` is not from 0 to 1.

    Example:
        >>> word_swap("why do those people always ruin everything", seed=1, share=0.2)
        'do why those people ruin always everything'
    """
    words, gaps = _words_and_gaps(text)
    wanted, moved = share_of(share, len(words)), set[int]()
    for index in _ranked(len(words) - 1, text, seed):
        pair = {index, index + 1}
        if len(moved) < 2 * wanted and not moved & pair and words[index] != words[index + 1]:
            words[index], words[index + 1] = words[index + 1], words[index]
            moved |= pair
    return _joined(words, gaps)


def misspelling(text: str, seed: int, *, share: float = _TENTH) -> str:
    """Return the text with one inner letter left out of some words, or two inner neighbours swapped.

    Args:
        text: any text; its links, mentions and HTML entities stay as they are.
        seed: from 0.
        share: of the words of four letters or more, from 0 to 1, rounded up.

    Raises:
        ValueError: ``share`` is not from 0 to 1.

    Example:
        >>> misspelling("why do those people always ruin everything", seed=1, share=0.5)
        'why do those peope always run everythng'
    """
    return with_changed_words(text, seed=seed, share=share, change=_misspelt)


AUGMENTATIONS: Mapping[str, Augmentation] = MappingProxyType(
    {
        "word-dropout": Augmentation(word_dropout, "a tenth of the words left out"),
        "swap": Augmentation(word_swap, "neighbouring words exchanged, as many pairs as a tenth of the words"),
        "misspelling": Augmentation(misspelling, "an inner letter left out or two swapped, in a tenth of the words"),
    }
)
"""Every way by name."""


def augmented(
    texts: Sequence[str], labels: NDArray[np.int64], *, kinds: Sequence[str], copies: int, seed: int = 0
) -> AugmentedRows:
    """Return training texts with changed copies of each behind them: all first copies, then all second ones, and so on.

    Each copy is changed in one way; the copies of a text take the kinds in turn, from one that text and seed decide.
    The first copies do not depend on how many there are. A text too short to be changed is repeated as it is, so that
    all weigh the same.

    Args:
        texts: of training rows, never of validation or test.
        labels: index of each text's class, shape (texts,).
        kinds: some of :data:`AUGMENTATIONS`.
        copies: of each text, from 0.
        seed: from 0.

    Raises:
        ConfigError: there is no such kind, or none is given.
        ValueError: ``copies`` is below 0, or there is not one label a text.

    Example:
        >>> augmented(["you are all idiots"], np.array([1]), kinds=["swap"], copies=1).texts
        ['you are all idiots', 'you are idiots all']
    """
    check_kinds(kinds)
    if copies < 0 or len(texts) != len(labels):
        raise ValueError(
            f"{copies} copies of {len(texts)} texts with {len(labels)} labels: allowed is from 0, and one each"
        )
    changed = [_copy(text, kinds, copy=copy, seed=seed) for copy in range(copies) for text in texts]
    rows = np.tile(np.arange(len(texts)), 1 + copies)
    return AugmentedRows([*texts, *changed], labels[rows], rows)


def check_kinds(kinds: Iterable[str]) -> None:
    """Refuse ways to change texts that there are not.

    Raises:
        ConfigError: there is no such kind, or none is given.
    """
    named = list(kinds)
    for kind in named:
        if kind not in AUGMENTATIONS:
            hint = nearest(kind, list(AUGMENTATIONS))
            raise ConfigError(f'training.augment: "{kind}" is not one of {", ".join(AUGMENTATIONS)}{hint}')
    if not named:
        raise ConfigError(f"training.augment: no kind is given; give some of {', '.join(AUGMENTATIONS)}")


def _copy(text: str, kinds: Sequence[str], *, copy: int, seed: int) -> str:
    draw = drawing(text, seed=seed)
    kind = kinds[(picked(range(len(kinds)), draw) + copy) % len(kinds)]
    seeds = [int(draw.random() * 2**32) for _ in range(copy + 1)]
    return AUGMENTATIONS[kind].apply(text, seeds[copy])


def _misspelt(word: Word, draw: random.Random) -> str:
    ways = (without_one_letter, with_two_swapped)
    return ways[picked(range(len(ways)), draw)](word, draw)


def _words_and_gaps(text: str) -> tuple[list[str], list[str]]:
    """Return the words, and the white space before, between and behind them, which may be empty at the ends."""
    return _WORD.findall(text), _WORD.split(text)


def _joined(words: Sequence[str], gaps: Sequence[str]) -> str:
    return "".join(chain(*zip_longest(gaps, words, fillvalue="")))


def _ranked(count: int, text: str, seed: int) -> list[int]:
    """Return the positions up to ``count`` in an order that text and seed decide."""
    draw = drawing(text, seed=seed)
    return sorted(range(count), key=[draw.random() for _ in range(count)].__getitem__)
