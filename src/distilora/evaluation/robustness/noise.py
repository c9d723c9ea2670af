"""Ways in which people disguise or mistype words, each a pure function of text and seed.

Each changes a share of the words that it can change, at least one of them: half of them by default, at which a person
still reads the text, or all where the change is to upper case. Which words and which letters follow from the text and
the seed alone: not from the order of the texts, the process, the machine or the version of Python. Only letters are
touched, a letter with its marks as one; emoji, digits, links, mentions and HTML entities stay as they are.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from distilora.data.faults import nearest
from distilora.data.letters import Word, picked, with_changed_words, with_two_swapped, without_one_letter
from distilora.errors import ConfigError

_HALF = 0.5
_LEET = MappingProxyType(dict(zip("aeiostAEIOST", "431057" * 2, strict=True)))
# Greek where a letter's name says so, Cyrillic elsewhere; all are in Unicode's list of confusable characters.
_LOOK_ALIKES = MappingProxyType(
    {
        "a": "\N{CYRILLIC SMALL LETTER A}",
        "c": "\N{CYRILLIC SMALL LETTER ES}",
        "e": "\N{CYRILLIC SMALL LETTER IE}",
        "i": "\N{CYRILLIC SMALL LETTER BYELORUSSIAN-UKRAINIAN I}",
        "j": "\N{CYRILLIC SMALL LETTER JE}",
        "o": "\N{GREEK SMALL LETTER OMICRON}",
        "p": "\N{CYRILLIC SMALL LETTER ER}",
        "s": "\N{CYRILLIC SMALL LETTER DZE}",
        "v": "\N{GREEK SMALL LETTER NU}",
        "x": "\N{CYRILLIC SMALL LETTER HA}",
        "y": "\N{CYRILLIC SMALL LETTER U}",
        "A": "\N{GREEK CAPITAL LETTER ALPHA}",
        "B": "\N{GREEK CAPITAL LETTER BETA}",
        "C": "\N{CYRILLIC CAPITAL LETTER ES}",
        "E": "\N{GREEK CAPITAL LETTER EPSILON}",
        "H": "\N{GREEK CAPITAL LETTER ETA}",
        "I": "\N{GREEK CAPITAL LETTER IOTA}",
        "J": "\N{CYRILLIC CAPITAL LETTER JE}",
        "K": "\N{GREEK CAPITAL LETTER KAPPA}",
        "M": "\N{GREEK CAPITAL LETTER MU}",
        "N": "\N{GREEK CAPITAL LETTER NU}",
        "O": "\N{CYRILLIC CAPITAL LETTER O}",
        "P": "\N{CYRILLIC CAPITAL LETTER ER}",
        "S": "\N{CYRILLIC CAPITAL LETTER DZE}",
        "T": "\N{CYRILLIC CAPITAL LETTER TE}",
        "X": "\N{CYRILLIC CAPITAL LETTER HA}",
        "Y": "\N{GREEK CAPITAL LETTER UPSILON}",
        "Z": "\N{GREEK CAPITAL LETTER ZETA}",
    }
)
_UNSEEN = ("\N{ZERO WIDTH SPACE}", "\N{WORD JOINER}", "\N{ZERO WIDTH NO-BREAK SPACE}")


class NoiseFunction(Protocol):
    """What makes noise."""

    def __call__(self, text: str, seed: int, *, share: float = ...) -> str:
        """Return the text with ``share`` of the words changed that can be, from 0 to 1."""
        ...


class Noise(NamedTuple):
    """One way to disguise or mistype words."""

    apply: NoiseFunction
    description: str
    """What it does, in one line, with its default strength."""


def leetspeak(text: str, seed: int, *, share: float = _HALF) -> str:
    """Return the text with a, e, i, o, s and t as digits in some words.

    Args:
        text: any text.
        seed: from 0.
        share: of the words with one of these letters, from 0 to 1.

    Raises:
        ValueError: ``share`` is not from 0 to 1.

    Example:
        >>> leetspeak("you are all idiots", seed=1)
        'you 4r3 all 1d1075'
    """
    return with_changed_words(text, seed=seed, share=share, change=lambda word, _: _replaced(word, _LEET))


def spaced_letters(text: str, seed: int, *, share: float = _HALF) -> str:
    """Return the text with a space after each letter but the last of some words of two letters or more.

    Example:
        >>> spaced_letters("you are all idiots", seed=1)
        'you a r e all i d i o t s'
    """
    return with_changed_words(text, seed=seed, share=share, change=lambda word, _: " ".join(word))


def dropped_characters(text: str, seed: int, *, share: float = _HALF) -> str:
    """Return the text with one letter left out of some words of four letters or more, never the first or the last.

    Example:
        >>> dropped_characters("those people are idiots", seed=1)
        'thoe peole are idiots'
    """
    return with_changed_words(text, seed=seed, share=share, change=without_one_letter)


def swapped_neighbours(text: str, seed: int, *, share: float = _HALF) -> str:
    """Return the text with two neighbouring letters swapped in some words, never the first or the last letter.

    Example:
        >>> swapped_neighbours("those people are idiots", seed=1)
        'thsoe pepole are idiots'
    """
    return with_changed_words(text, seed=seed, share=share, change=with_two_swapped)


def zero_width_characters(text: str, seed: int, *, share: float = _HALF) -> str:
    r"""Return the text with one character that nobody sees (U+200B, U+2060 or U+FEFF) inside some words.

    Example:
        >>> ascii(zero_width_characters("you are all idiots", seed=1))
        "'you are a\\ufeffll idi\\u200bots'"
    """
    return with_changed_words(text, seed=seed, share=share, change=_with_one_unseen)


def look_alikes(text: str, seed: int, *, share: float = _HALF) -> str:
    r"""Return the text with Latin letters as the Cyrillic and Greek ones that look the same, in some words.

    Source:
        Unicode Technical Standard 39, confusables.txt, https://unicode.org/reports/tr39/.

    Example:
        >>> ascii(look_alikes("you are all idiots", seed=1))
        "'you \\u0430r\\u0435 all \\u0456d\\u0456\\u03bft\\u0455'"
    """
    return with_changed_words(text, seed=seed, share=share, change=lambda word, _: _replaced(word, _LOOK_ALIKES))


def upper_case(text: str, seed: int, *, share: float = 1.0) -> str:
    """Return the text with all words in capital letters; a letter without a single capital, as ß, stays.

    Example:
        >>> upper_case("you are all idiots @Home", seed=0)
        'YOU ARE ALL IDIOTS @Home'
    """
    return with_changed_words(text, seed=seed, share=share, change=lambda word, _: "".join(map(_capital, word)))


NOISES: Mapping[str, Noise] = MappingProxyType(
    {
        "leetspeak": Noise(leetspeak, "a, e, i, o, s and t as digits, in half of the words"),
        "spaced": Noise(spaced_letters, "a space between all letters, in half of the words"),
        "dropped": Noise(dropped_characters, "one inner letter left out, in half of the words of four letters or more"),
        "swapped": Noise(swapped_neighbours, "two inner neighbours swapped, in half of the words where they differ"),
        "zero-width": Noise(zero_width_characters, "a character that nobody sees inside, in half of the words"),
        "look-alike": Noise(look_alikes, "Cyrillic and Greek letters for Latin ones, in half of the words"),
        "upper-case": Noise(upper_case, "capital letters, in all words"),
    }
)
"""Every kind of noise by name, in the order in which reports show them."""


def noisy(texts: Iterable[str], kind: str, *, seed: int = 0) -> list[str]:
    """Return every text with one kind of noise at its default strength, in the order given.

    Args:
        texts: any texts; the same text always gets the same noise.
        kind: one of :data:`NOISES`.
        seed: from 0.

    Raises:
        ConfigError: there is no such kind.

    Example:
        >>> noisy(["go away", ""], "upper-case")
        ['GO AWAY', '']
    """
    if kind not in NOISES:
        raise ConfigError(f'noise "{kind}" is not one of {", ".join(NOISES)}{nearest(kind, list(NOISES))}')
    apply = NOISES[kind].apply
    return [apply(text, seed) for text in texts]


def _replaced(word: Word, table: Mapping[str, str]) -> str:
    return "".join(table.get(letter, letter) for letter in word)


def _capital(letter: str) -> str:
    upper = letter[0].upper()
    return upper + letter[1:] if len(upper) == 1 else letter


def _with_one_unseen(word: Word, draw: random.Random) -> str:
    if len(word) < 2:
        return "".join(word)
    index = picked(range(1, len(word)), draw)
    unseen = _UNSEEN[picked(range(len(_UNSEEN)), draw)]
    return "".join([*word[:index], unseen, *word[index:]])
