"""Which words moved a decision: each is left out in turn, all asked together.

``asked = variants(text, ...)``, then what the model says of ``asked.texts``, then ``influences(asked, predictions)``.

Source:
    Li, Monroe & Jurafsky (2016), Understanding Neural Networks through Representation Erasure,
    https://arxiv.org/abs/1612.08220. Its importance is a relative change of the log-likelihood; ours is a plain
    difference of probabilities, which needs no explanation and stays finite.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from distilora.bundles.predictions import Predictions

_SPECIAL_TOKENS = 2
"""Around each text, in the families of BERT."""
_ALONE = (
    range(0x0E00, 0x0F00),  # Thai, Lao
    range(0x1000, 0x10A0),  # Myanmar
    range(0x1100, 0x1200),  # Hangul in parts
    range(0x1780, 0x1800),  # Khmer
    range(0x2E80, 0x2FE0),  # radicals
    range(0x3005, 0x3400),  # kana, Bopomofo, signs that stand for ideographs
    range(0x3400, 0xA4D0),  # ideographs, Yi
    range(0xA960, 0xA980),  # Hangul in parts
    range(0xAC00, 0xD800),  # Hangul
    range(0xF900, 0xFB00),  # ideographs
    range(0xFF66, 0xFFDD),  # kana and Hangul of half the width
    range(0x1AFF0, 0x1B170),  # kana
    range(0x20000, 0x3FFFE),  # ideographs
)
"""Scripts that are taken character by character."""
_SYLLABLE_ENDS = (range(0x1160, 0x1200), range(0xD7B0, 0xD800))
"""Vowels and ends of Hangul syllables in parts; they belong to the character before them."""
_OF_SIGNS = {sign: kind for kind, signs in {"j": "'’.-&!", "p": "@#", "x": "*$"}.items() for sign in signs} | {"_": "w"}
_AS_ONE = re.compile(r"https?://[!-~]+|&(?:#\d{1,7}|#x[0-9A-Fa-f]{1,6}|[A-Za-z]{2,8});")
"""Addresses, and characters as HTML writes them."""
_PIECES = re.compile(
    r"""
      o+                                # _AS_ONE
    | p? w [wm]* (?: [jp]? w | x | m )* # don't, @name, #tag, sh!t, f***
    | a m*                              # one character of a script without spaces
    | e [em]*                           # pictures
    | (?: [sjxm] | p (?!w) )+           # signs
    """,
    re.VERBOSE,
)
"""Of the characters' kinds, one letter for each."""


class Word(NamedTuple):
    """A piece of a text that can be left out."""

    start: int
    """Position of its first character in the text, from 0, in code points."""
    end: int
    """Position behind its last character."""


class Explainable(NamedTuple):
    """A text in all the forms that a model must be asked for."""

    texts: list[str]
    """The text; its beginning, where the rest is far out of the model's reach; then that without each word."""
    words: tuple[Word, ...]
    """Those that are left out in turn."""
    words_behind: int
    """How many more there are."""
    most_tokens: int
    """That the model reads, special tokens included."""


class Influences(NamedTuple):
    """What each word did."""

    words: tuple[tuple[Word, float], ...]
    """Each word that the model reads, with the probability of the whole text's label minus the same without the word.

    Where the end of the text is out of the model's reach, both are of the beginning.
    """
    left_out: int
    """Words behind those."""


def words_of(text: str) -> list[Word]:
    """Return the words and runs of signs of a text, in order; each character that is no space is in exactly one.

    A script without spaces is taken character by character, and so is Hangul.

    Example:
        >>> text = "@you don't, f*** off!! 😂😂"
        >>> [text[word.start : word.end] for word in words_of(text)]
        ['@you', "don't", ',', 'f***', 'off', '!!', '😂😂']
        >>> len(words_of("你好 café"))
        3
    """
    kinds = [_kind(character) for character in text]
    for whole in _AS_ONE.finditer(text):
        kinds[whole.start() : whole.end()] = "o" * (whole.end() - whole.start())
    return [Word(*found.span()) for found in _PIECES.finditer("".join(kinds))]


def without(text: str, word: Word) -> str:
    """Return the text without one of its words: no doubled space stays, and its neighbours do not become one word.

    Example:
        >>> without("you stupid dog", Word(4, 10)), without("you,dog", Word(3, 4))
        ('you dog', 'you dog')
    """
    before, after = text[: word.start], text[word.end :]
    if not before or before[-1].isspace():
        return before + after[1:] if after[:1].isspace() else before + after
    grow_together = after and _kind(before[-1]) in "wm" and _kind(after[0]) == "w"
    return f"{before} {after}" if grow_together else before + after


def variants(text: str, *, most_words: int, most_tokens: int) -> Explainable:
    """Return the text and its variants; give ``texts`` to the model in one call, truncated where they are long.

    Args:
        text: any string.
        most_words: that are left out in turn; the first ones are.
        most_tokens: that the model reads, special tokens included.

    Example:
        >>> variants("so stupid", most_words=9, most_tokens=128).texts
        ['so stupid', 'stupid', 'so ']
    """
    words = words_of(text)
    texts, base = [text], text
    # Almost every word has a token or more. So without one that is read, none behind twice as many comes into reach.
    if len(words) > 2 * most_tokens:
        base = text[: words[2 * most_tokens].start]
        texts.append(base)
    weighed = tuple(words[: min(most_words, most_tokens)])
    return Explainable(
        texts=[*texts, *(without(base, word) for word in weighed)],
        words=weighed,
        words_behind=len(words) - len(weighed),
        most_tokens=most_tokens,
    )


def influences(asked: Explainable, predictions: Predictions) -> Influences:
    """Return what each word did for the label of the whole text, from -1 to 1; above 0 speaks for the label.

    Args:
        asked: of :func:`variants`.
        predictions: of ``asked.texts``.
    """
    first = len(asked.texts) - len(asked.words)
    of_label = predictions.probabilities[:, predictions.labels[0]]
    moved = (of_label[first - 1] - of_label[first:]).tolist()
    reached = _reached(asked, predictions)
    return Influences(
        words=tuple(zip(asked.words[:reached], moved, strict=False)),
        left_out=asked.words_behind + len(asked.words) - reached,
    )


def _reached(asked: Explainable, predictions: Predictions) -> int:
    """Return how many of the weighed words the model reads.

    A word's tokens are those that the text has less without it. So where each begins is known up to the special tokens
    and to what its neighbours became.
    """
    if not predictions.cut[0]:
        return len(asked.words)
    first = len(asked.texts) - len(asked.words)
    tokens = (predictions.tokens[first - 1] - predictions.tokens[first:]).tolist()
    begins = accumulate(tokens[:-1], initial=0)
    return sum(begin < asked.most_tokens - _SPECIAL_TOKENS for begin in begins) if tokens else 0


@lru_cache(maxsize=4096)
def _kind(character: str) -> str:
    """Return the letter that stands for a character's kind in ``_PIECES``; a space is a space."""
    code, category = ord(character), unicodedata.category(character)
    if character.isspace():
        return " "
    if any(code in script for script in _SYLLABLE_ENDS) or category[0] == "M" or category == "Cf":
        return "m"
    if category[0] in "LN":
        return "a" if any(code in script for script in _ALONE) else "w"
    # Skin colours are modifiers.
    return _OF_SIGNS.get(character) or ("e" if category == "So" or (category == "Sk" and code > 0xFFFF) else "s")
