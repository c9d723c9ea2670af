"""Noise is small, repeatable and leaves whole what a reader sees as one character; what it costs is counted rightly."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from distilora.data.letters import find_words, seen_characters
from distilora.errors import ConfigError
from distilora.evaluation.intervals import difference_interval
from distilora.evaluation.robustness.drops import NoiseDrop, robustness
from distilora.evaluation.robustness.noise import NOISES, NoiseFunction, noisy

KINDS = tuple(NOISES)
SENTENCE = "Why do those people always ruin everything for everybody else who simply wants some quiet?"
EMOJI = ("👩‍👩‍👧", "👍🏽", "🇩🇪", "1️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "❤️", "🙂")
MARKED = ("e\u0301", "n\u0303", "a\u0308\u0304", "क्षि", "ก็", "م\u200c", "\u1112\u1161\u11ab", "\u1112\ud7b0\ud7cb")
# Letters with marks, emoji of several code points, halves of surrogate pairs, and what stands between words.
PIECES = st.sampled_from(
    [*"aeiost zXß.@#&;1\n", *EMOJI, *MARKED, "\ud83d", "\ude00", "\u200d", "http://a.example/seat"]
)
TEXTS = st.one_of(st.text(), st.lists(PIECES).map("".join))


def changed_words(text: str, other: str) -> int:
    return sum(one != two for one, two in zip(text.split(), other.split(), strict=True))


@pytest.mark.parametrize("kind", KINDS)
@given(text=TEXTS, seed=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_the_same_text_and_seed_give_the_same_noise_in_any_order(kind: str, text: str, seed: int) -> None:
    texts = [text, "what a day it has been", text + "!", SENTENCE]
    shuffled = [texts[index] for index in np.random.default_rng(seed).permutation(len(texts))]
    assert dict(zip(texts, noisy(texts, kind, seed=seed), strict=True)) == dict(
        zip(shuffled, noisy(shuffled, kind, seed=seed), strict=True)
    )


def test_every_process_makes_the_same_noise() -> None:
    code = (
        "from distilora.evaluation.robustness.noise import NOISES, noisy\n"
        f"print(*[ascii(noisy([{SENTENCE!r}], kind, seed=3)) for kind in NOISES], sep='\\n')"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        for hash_seed in ("1", "2")
    ]
    assert told[0] == told[1] == [ascii(noisy([SENTENCE], kind, seed=3)) for kind in KINDS]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "upper-case"])
def test_another_seed_makes_other_noise(kind: str) -> None:
    assert len({noisy([SENTENCE], kind, seed=seed)[0] for seed in range(8)}) > 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["", " ", "\n", "12:30", "@seat", "https://t.example/seats?a=oats", "&quot;", *EMOJI])
def test_what_has_no_words_stays_as_it_is(kind: str, text: str) -> None:
    assert noisy([text], kind) == [text]


@pytest.mark.parametrize("kind", KINDS)
@given(text=TEXTS)
@settings(max_examples=100, deadline=None)
def test_noise_splits_no_emoji_and_no_surrogates_and_takes_no_mark_from_its_letter(kind: str, text: str) -> None:
    made = noisy([text], kind)[0]
    before, after = seen_characters(text), seen_characters(made)
    assert [character for character in after if not is_letter(character) and not is_added(character)] == [
        character for character in before if not is_letter(character) and not is_added(character)
    ]
    marked = [character for character in before if is_letter(character) and len(character) > 1]
    still_there = [character.lower() for character in after]
    missing = [character for character in marked if character.lower() not in still_there]
    assert not missing or kind == "dropped"
    assert set(filter(is_letter, still_there)) - {character.lower() for character in before} <= LOOK_ALIKES


LOOK_ALIKES = set(noisy(["aceijopsvxy ABCEHIJKMNOPSTXYZ"], "look-alike")[0].lower()) | set(
    NOISES["look-alike"].apply("aceijopsvxy ABCEHIJKMNOPSTXYZ", 0, share=1.0).lower()
)


def is_letter(character: str) -> bool:
    return character[0].isalpha()


def is_added(character: str) -> bool:
    return character in " 0134578" or character in "\u200b\u2060\ufeff"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("emoji", EMOJI)
def test_emoji_between_and_beside_words_come_through_whole(kind: str, emoji: str) -> None:
    text = f"those{emoji}people {emoji}are {emoji} idiots{emoji}"
    made = NOISES[kind].apply(text, 0, share=1.0)
    assert made != text
    assert regex.findall(r"\X", made).count(emoji) == 4


@given(text=st.lists(st.sampled_from([*"abcé ", *MARKED])).map("".join))
def test_letters_are_cut_where_another_implementation_of_annex_29_cuts_them(text: str) -> None:
    assert seen_characters(text) == regex.findall(r"\X", text)


@pytest.mark.parametrize("kind", KINDS)
def test_letters_that_a_joiner_makes_one_stay_one(kind: str) -> None:
    joined = "\u0dc1\u0dca\u200d\u0dbb\u0dd3"  # Sinhala "sri", in whose last three code points two letters merge
    made = NOISES[kind].apply(f"{joined} lanka {joined}island", 0, share=1.0)
    assert made.count(joined) == 2


@given(text=TEXTS)
def test_seen_characters_make_up_the_text_and_words_are_letters_alone(text: str) -> None:
    characters = seen_characters(text)
    assert "".join(characters) == text
    words = find_words(characters)
    assert all(character[0].isalpha() for word in words for character in characters[word])
    assert all(one.stop <= two.start for one, two in itertools.pairwise(words))


@pytest.mark.parametrize(
    ("kind", "able"),
    [("leetspeak", 14), ("spaced", 15), ("dropped", 11), ("swapped", 11), ("zero-width", 15), ("look-alike", 15)],
)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_the_share_of_words_that_can_be_changed_is_changed(kind: str, able: int, share: float) -> None:
    made = NOISES[kind].apply(SENTENCE, 0, share=share)
    if kind == "spaced":
        single = sum(len(word) == 1 for word in made.rstrip("?").split())
        words = [word for word in SENTENCE.rstrip("?").split() if word not in made.rstrip("?").split()]
        assert single == sum(map(len, words))
        changed = len(words)
    else:
        changed = changed_words(SENTENCE, made)
    assert changed == np.ceil(round(share * able, 9))


@pytest.mark.parametrize("apply", [noise.apply for noise in NOISES.values()])
@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_0_to_1_is_refused(apply: NoiseFunction, share: float) -> None:
    with pytest.raises(ValueError, match="allowed is 0 to 1"):
        apply("some words", 0, share=share)


@pytest.mark.parametrize("kind", KINDS)
def test_even_one_word_is_changed(kind: str) -> None:
    assert noisy(["steadily"], kind) != ["steadily"]


def test_leetspeak_is_undone_by_reading_the_digits_as_letters() -> None:
    made = NOISES["leetspeak"].apply(SENTENCE.lower(), 0, share=1.0)
    assert set(made) & set("aeiost") == set()
    assert made.translate(str.maketrans("431057", "aeiost")) == SENTENCE.lower()


def test_spaced_letters_without_spaces_are_the_text_without_spaces() -> None:
    made = NOISES["spaced"].apply(SENTENCE, 0)
    assert made.replace(" ", "") == SENTENCE.replace(" ", "")


def test_a_dropped_letter_is_neither_the_first_nor_the_last() -> None:
    for word, made in zip(SENTENCE.split(), NOISES["dropped"].apply(SENTENCE, 0, share=1.0).split(), strict=True):
        assert len(made) == len(word) - (len(word.rstrip("?")) >= 4)
        assert (made[0], made[-1]) == (word[0], word[-1])


def test_swapped_letters_are_neighbours_and_keep_first_and_last() -> None:
    for word, made in zip(SENTENCE.split(), NOISES["swapped"].apply(SENTENCE, 0, share=1.0).split(), strict=True):
        differing = [index for index, (one, two) in enumerate(zip(word, made, strict=True)) if one != two]
        assert len(differing) == 2 or len(word) < 4
        if differing:
            first, second = differing
            assert second == first + 1
            assert made[first : second + 1] == word[first : second + 1][::-1]
        assert (made[0], made[-1]) == (word[0], word[-1])


def test_zero_width_characters_are_inside_words_and_nobody_sees_them() -> None:
    made = NOISES["zero-width"].apply(SENTENCE, 0, share=1.0)
    assert "".join(character for character in made if unicodedata.category(character) != "Cf") == SENTENCE
    for word, changed in zip(SENTENCE.split(), made.split(), strict=True):
        assert len(changed) == len(word) + 1
        assert (changed[0], changed[-1]) == (word[0], word[-1])


def test_look_alikes_are_of_other_scripts_and_normalisation_does_not_undo_them() -> None:
    letters = "aceijopsvxyABCEHIJKMNOPSTXYZ"
    made = NOISES["look-alike"].apply(letters, 0, share=1.0)
    assert len(made) == len(letters)
    for letter, other in zip(letters, made, strict=True):
        assert unicodedata.name(other).split()[0] in {"CYRILLIC", "GREEK"}
        assert unicodedata.normalize("NFKC", other) == other
        assert letter.isupper() == other.isupper()


def test_upper_case_is_python_s_but_for_links_and_letters_without_a_single_capital() -> None:
    assert noisy([SENTENCE], "upper-case") == [SENTENCE.upper()]
    assert noisy(["Straße ŉ ᾳ www.seat.example @Me &amp; e\u0301"], "upper-case") == [
        "STRAßE ŉ ᾳ www.seat.example @Me &amp; E\u0301"
    ]


def test_an_unknown_noise_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r'noise "leet" is not one of .*; did you mean "leetspeak"\?'):
        noisy(["text"], "leet")
    assert all(noise.description and "\n" not in noise.description for noise in NOISES.values())


Classes = NDArray[np.int64]


def predictions(*, seeds: int = 2, rows: int = 200, right: float = 0.8, seed: int = 0) -> tuple[Classes, Classes]:
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 3, rows)
    guesses = draw.integers(0, 3, (seeds, rows))
    return labels, np.where(draw.random((seeds, rows)) < right, labels, guesses)


def test_the_drop_is_the_difference_of_scikit_learn_s_macro_f1_with_a_paired_interval() -> None:
    labels, clean = predictions(right=0.9)
    worse = np.where(np.random.default_rng(5).random(clean.shape) < 0.3, 0, clean)
    found = robustness(labels, clean, {"spaced": worse, "upper-case": clean}, classes=3)
    scores = [np.mean([f1_score(labels, one, average="macro") for one in several]) for several in (clean, worse)]
    assert [drop.kind for drop in found] == ["spaced", "upper-case"]
    assert found[0].clean_macro_f1 == pytest.approx(scores[0], abs=1e-12)
    assert found[0].noisy_macro_f1 == pytest.approx(scores[1], abs=1e-12)
    assert found[0].drop == pytest.approx(scores[0] - scores[1], abs=1e-12)
    assert found[0].interval == difference_interval(labels, clean, worse, classes=3)
    assert found[0].interval.low < found[0].drop < found[0].interval.high
    assert found[0].is_shown
    assert found[1].drop == found[1].interval.low == found[1].interval.high == 0.0
    assert not found[1].is_shown
    assert NoiseDrop.model_validate_json(found[0].model_dump_json()) == found[0]


def test_a_class_without_rows_counts_in_macro_f1() -> None:
    labels = np.array([0, 1, 0, 1])
    (found,) = robustness(labels, labels[None], {"spaced": labels[None]}, classes=3)
    assert found.clean_macro_f1 == pytest.approx(2 / 3)


def test_predictions_of_other_rows_or_seeds_are_refused() -> None:
    labels, clean = predictions()
    with pytest.raises(ValueError, match=r"spaced: predictions have shape \(1, 200\)"):
        robustness(labels, clean, {"spaced": clean[:1]}, classes=3)
