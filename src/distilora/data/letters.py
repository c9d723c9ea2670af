"""The letters of a text as a reader sees them, the words they make, and how some of those are changed."""

from __future__ import annotations

import math
import random
import re
import unicodedata
from collections.abc import Callable, Sequence
from itertools import pairwise

_KEPT = re.compile(r"https?://\S+|www\.\S+|@\w+|&#?\w+;")
"""Links, mentions and HTML entities: nobody disguises them, and they would no longer work."""
_JOINERS = ("\u200c", "\u200d")
_VIRAMA = 9
"""Canonical combining class of the sign that joins an Indic consonant to the next."""

Word = Sequence[str]
"""The letters of a word, each with its marks."""
Change = Callable[[Word, random.Random], str]
"""From a word, and what draws, to what stands in its place; the same word where it cannot be changed."""


def seen_characters(text: str) -> list[str]:
    r"""Return the text cut where a reader sees a new character: marks and joined letters stay with their letter.

    This is the cut of Unicode's annex 29 for letters; emoji may be cut more finely, as no noise touches them.

    Source:
        Unicode Standard Annex 29, https://unicode.org/reports/tr29/.

    Example:
        >>> seen_characters("ne\u0301e") == ["n", "e\u0301", "e"]
        True
    """
    starts = [index for index in range(len(text)) if not index or not _goes_on(text[index - 1], text[index])]
    return [text[start:stop] for start, stop in pairwise([*starts, len(text)])]


def find_words(characters: list[str]) -> list[slice]:
    """Return where each run of letters stands in :func:`seen_characters`, links, mentions and entities left out.

    Example:
        >>> characters = seen_characters("@you are 2 odd, see www.odd.org")
        >>> ["".join(characters[word]) for word in find_words(characters)]
        ['are', 'odd', 'see']
    """
    words: list[slice] = []
    kept = _kept_positions("".join(characters))
    position, start = 0, 0
    for index, character in enumerate(characters):
        if not character[0].isalpha() or position in kept:
            if start < index:
                words.append(slice(start, index))
            start = index + 1
        position += len(character)
    return words if start == len(characters) else [*words, slice(start, len(characters))]


def _kept_positions(text: str) -> set[int]:
    return {position for found in _KEPT.finditer(text) for position in range(*found.span())}


def _goes_on(before: str, character: str) -> bool:
    """Return whether a reader sees both as one character."""
    return (
        unicodedata.category(character).startswith("M")
        or character in _JOINERS
        or before == "\u200d"
        or (unicodedata.combining(before) == _VIRAMA and character.isalpha())
        or "\u1160" <= character <= "\u11ff"  # vowels and final consonants of Hangul written in parts
        or "\ud7b0" <= character <= "\ud7fb"
    )


def with_changed_words(text: str, *, seed: int, share: float, change: Change) -> str:
    """Return the text with a share of those words changed that the change makes a difference to, but at least one.

    Which words and how follow from the text and the seed alone. Links, mentions and HTML entities stay as they are.

    Args:
        text: any text.
        seed: from 0.
        share: of the words that can be changed, from 0 to 1; at 0 none is.
        change: what is done to a word.

    Raises:
        ValueError: ``share`` is not from 0 to 1.

    Example:
        >>> with_changed_words("those people are idiots", seed=1, share=0.5, change=without_one_letter)
        'thoe peole are idiots'
    """
    draw = drawing(text, seed=seed)
    characters = seen_characters(text)
    changes = [(word, change(characters[word], draw)) for word in find_words(characters)]
    able = [(word, new) for word, new in changes if new != "".join(characters[word])]
    wanted = share_of(share, len(able))
    ranked = sorted(((draw.random(), word.start, word, new) for word, new in able), key=lambda entry: entry[:2])
    for _, _, word, new in sorted(ranked[:wanted], key=lambda entry: -entry[1]):
        characters[word] = [new]
    return "".join(characters)


def share_of(share: float, count: int) -> int:
    """Return a share of ``count`` things, rounded up.

    Raises:
        ValueError: ``share`` is not from 0 to 1.

    Example:
        >>> share_of(0.1, 30), share_of(0.1, 31)
        (3, 4)
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}; allowed is 0 to 1")
    return math.ceil(round(share * count, 9))  # 0.1 of 30 is 3, whatever the product's last bit


def drawing(text: str, *, seed: int) -> random.Random:
    """Return what draws the numbers that follow from a text and a seed alone, by ``random()`` and no other method."""
    # Of all that draws, only random() is promised to give the same numbers in every version of Python.
    return random.Random(f"{seed}\n{text}".encode("utf-8", "surrogatepass"))  # noqa: S311 - nothing secret


def without_one_letter(word: Word, draw: random.Random) -> str:
    """Return a word of four letters or more without one that is neither the first nor the last."""
    if len(word) < 4:
        return "".join(word)
    index = picked(range(1, len(word) - 1), draw)
    return "".join([*word[:index], *word[index + 1 :]])


def with_two_swapped(word: Word, draw: random.Random) -> str:
    """Return a word with two neighbouring letters swapped, neither the first nor the last, where any two differ."""
    places = [index for index in range(1, len(word) - 2) if word[index] != word[index + 1]]
    if not places:
        return "".join(word)
    index = picked(places, draw)
    return "".join([*word[:index], word[index + 1], word[index], *word[index + 2 :]])


def picked(places: Sequence[int], draw: random.Random) -> int:
    """Return one of the places, each as likely as the others."""
    return places[int(draw.random() * len(places))]
