"""The letters of a text as a reader sees them, and the words they make."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

_KEPT = re.compile(r"https?://\S+|www\.\S+|@\w+|&#?\w+;")
"""Links, mentions and HTML entities: nobody disguises them, and they would no longer work."""
_JOINERS = ("\u200c", "\u200d")
_VIRAMA = 9
"""Canonical combining class of the sign that joins an Indic consonant to the next."""


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
