"""Changed copies of training texts keep their label and most of their words, and depend on text and seed alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distilora.data.augmentation import (
    AUGMENTATIONS,
    AugmentationFunction,
    augmented,
    misspelling,
    word_dropout,
    word_swap,
)
from distilora.errors import ConfigError

KINDS = tuple(AUGMENTATIONS)
SENTENCE = "Why do those people always ruin everything for everybody else who simply wants some quiet?"
PIECES = st.sampled_from(
    [*"aeiost zXß.@#&;1\n\t\u00a0", "people", "👩‍👩‍👧", "e\u0301", "\ud83d", "http://a.example/seat"]
)
TEXTS = st.one_of(st.text(), st.lists(PIECES).map("".join))
LABELLED = st.lists(st.tuples(TEXTS, st.integers(0, 3)), min_size=1, max_size=6)


@pytest.mark.parametrize("kind", KINDS)
@given(text=TEXTS, seed=st.integers(0, 5), share=st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_no_text_becomes_empty_and_the_same_seed_gives_the_same_copy(
    kind: str, text: str, seed: int, share: float
) -> None:
    apply = AUGMENTATIONS[kind].apply
    made = apply(text, seed, share=share)
    assert bool(made.strip()) == bool(text.strip())
    assert made == apply(text, seed, share=share)
    assert apply(text, seed, share=0.0) == text


@given(text=TEXTS, seed=st.integers(0, 5), share=st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_dropout_leaves_words_in_order_and_all_but_the_share_of_them(text: str, seed: int, share: float) -> None:
    before, after = text.split(), word_dropout(text, seed, share=share).split()
    remaining = iter(before)
    assert all(word in remaining for word in after)
    dropped = np.ceil(round(share * len(before), 9))
    assert len(after) == max(len(before) - dropped, min(1, len(before)))


@given(text=TEXTS, seed=st.integers(0, 5), share=st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_a_swap_keeps_every_word_and_all_white_space_and_moves_no_word_further_than_one_place(
    text: str, seed: int, share: float
) -> None:
    made = word_swap(text, seed, share=share)
    before, after = text.split(), made.split()
    assert Counter(before) == Counter(after)
    assert [character for character in made if character.isspace()] == [
        character for character in text if character.isspace()
    ]
    moved = [index for index in range(len(before)) if before[index] != after[index]]
    for first, second in zip(moved[::2], moved[1::2], strict=True):
        assert second == first + 1
        assert (before[first], before[second]) == (after[second], after[first])
    assert len(moved) <= 2 * np.ceil(round(share * len(before), 9))


@given(text=TEXTS, seed=st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_a_misspelling_adds_no_character_and_takes_one_a_word_at_most(text: str, seed: int) -> None:
    made = misspelling(text, seed, share=1.0)
    assert not Counter(made) - Counter(text)
    assert len(made.split()) == len(text.split())


def test_a_tenth_of_the_words_changes_by_default() -> None:
    words = SENTENCE.split()  # 15 of them, and 11 of four letters or more
    assert len(word_dropout(SENTENCE, 0).split()) == 13
    for apply, changed in ((word_swap, 4), (misspelling, 2)):
        assert sum(one != two for one, two in zip(words, apply(SENTENCE, 0).split(), strict=True)) == changed


def test_white_space_at_both_ends_stays() -> None:
    assert {word_dropout(" go\taway  now\n", seed, share=0.1) for seed in range(20)} == {
        " away  now\n",
        " go\tnow\n",
        " go\taway\n",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_another_seed_makes_another_copy(kind: str) -> None:
    assert len({AUGMENTATIONS[kind].apply(SENTENCE, seed) for seed in range(8)}) > 4


@pytest.mark.parametrize("apply", [way.apply for way in AUGMENTATIONS.values()])
@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
@pytest.mark.parametrize("text", ["", "some words"])
def test_a_share_outside_0_to_1_is_refused(apply: AugmentationFunction, share: float, text: str) -> None:
    with pytest.raises(ValueError, match="allowed is 0 to 1"):
        apply(text, 0, share=share)


@given(LABELLED, st.integers(0, 3), st.integers(0, 9), st.lists(st.sampled_from(KINDS), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_every_text_keeps_its_label_and_has_its_copies_behind_all_texts(
    labelled: list[tuple[str, int]], copies: int, seed: int, kinds: list[str]
) -> None:
    texts, labels = [text for text, _ in labelled], np.array([label for _, label in labelled])
    made = augmented(texts, labels, kinds=kinds, copies=copies, seed=seed)
    assert made.texts[: len(texts)] == texts
    assert len(made.texts) == len(made.labels) == len(made.rows) == (1 + copies) * len(texts)
    np.testing.assert_array_equal(made.labels, labels[made.rows])
    for text, row in zip(made.texts, made.rows, strict=True):
        assert bool(text.strip()) == bool(texts[row].strip())
        assert set(text) <= set(texts[row])
    assert sorted(Counter(made.rows.tolist()).values()) == [1 + copies] * len(texts)


@given(LABELLED, st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_the_order_of_the_texts_and_the_number_of_copies_change_no_copy(
    labelled: list[tuple[str, int]], seed: int
) -> None:
    texts = [text for text, _ in labelled]
    order = np.random.default_rng(seed).permutation(len(texts))
    labels = np.arange(len(texts))
    made = augmented(texts, labels, kinds=KINDS, copies=2, seed=seed)
    shuffled = augmented([texts[row] for row in order], labels[order], kinds=KINDS, copies=3, seed=seed)
    for copy in range(3):
        there = slice(copy * len(texts), (copy + 1) * len(texts))
        assert [made.texts[there][row] for row in order] == shuffled.texts[there]


def test_copies_of_a_text_take_the_kinds_in_turn_and_differ() -> None:
    texts = [f"{SENTENCE} {number}" for number in range(30)]
    made = augmented(texts, np.zeros(30, dtype=np.int64), kinds=KINDS, copies=3)
    copies = np.array(made.texts[30:]).reshape(3, 30).T
    assert all(len({*copies[row], texts[row]}) == 4 for row in range(30))
    for row, text in enumerate(texts):
        shorter = sum(len(copy.split()) < len(text.split()) for copy in copies[row])
        swapped = sum(sorted(copy.split()) == sorted(text.split()) for copy in copies[row])
        assert (shorter, swapped) == (1, 1)
    first = [len(copy.split()) < len(text.split()) for copy, text in zip(copies[:, 0], texts, strict=True)]
    assert 2 < sum(first) < 20  # which kind is first is another one for another text


def test_every_process_makes_the_same_copies() -> None:
    code = (
        "import numpy as np\n"
        "from distilora.data.augmentation import AUGMENTATIONS, augmented\n"
        f"print(ascii(augmented([{SENTENCE!r}], np.array([0]), kinds=list(AUGMENTATIONS), copies=4, seed=3).texts))"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for hash_seed in ("1", "2")
    ]
    here = augmented([SENTENCE], np.array([0]), kinds=KINDS, copies=4, seed=3).texts
    assert told == [ascii(here)] * 2


@pytest.mark.parametrize("kinds", [["shuffle"], ["swapp"], []])
def test_an_unknown_kind_or_none_is_refused(kinds: list[str]) -> None:
    with pytest.raises(ConfigError, match="word-dropout, swap, misspelling"):
        augmented(["go away"], np.array([0]), kinds=kinds, copies=1)


@pytest.mark.parametrize(("labels", "copies"), [([0], -1), ([0, 1], 1)])
def test_impossible_copies_and_labels_are_refused(labels: list[int], copies: int) -> None:
    with pytest.raises(ValueError, match="one each"):
        augmented(["go away"], np.array(labels), kinds=["swap"], copies=copies)
