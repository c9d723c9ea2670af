"""Words of any text, the text without each of them, and what each did to the decision."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilora.bundles.bundle import open_bundle
from distilora.serve.explaining import Word, influences, variants, without, words_of
from tiny_bundle import save_tiny_bundle

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)


def pieces(text: str) -> list[str]:
    return [text[word.start : word.end] for word in words_of(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t ", []),
        ("you are all idiots", ["you", "are", "all", "idiots"]),
        ("Don’t! sh!t, f**k 'em...", ["Don’t", "!", "sh!t", ",", "f**k", "'", "em", "..."]),
        ("@someone #tag a@b", ["@someone", "#tag", "a@b"]),
        ("so 😂😂👍🏽!!", ["so", "😂😂👍🏽", "!!"]),
        ("👨\u200d👩\u200d👧 ok", ["👨\u200d👩\u200d👧", "ok"]),
        ("1\ufe0f\u20e3 x", ["1\ufe0f\u20e3", "x"]),
        ("cafe\u0301 nai\u0308ve", ["cafe\u0301", "nai\u0308ve"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("مرحبا بكم", ["مرحبا", "بكم"]),
        ("你好,world", ["你", "好", ",", "world"]),
        ("かな が", ["か", "な", "が"]),
        ("か\u3099", ["か\u3099"]),
        ("안녕", ["안", "녕"]),
        ("\u1112\u1161\u11ab\u1100", ["\u1112\u1161\u11ab", "\u1100"]),
        ("see http://a.b/c?d=e&f now", ["see", "http://a.b/c?d=e&f", "now"]),
        ("this &amp; that&#128514;", ["this", "&amp;", "that", "&#128514;"]),
        ("id\u200biot\u00ad s", ["id\u200biot\u00ad", "s"]),
    ],
)
def test_words_are_what_a_reader_takes_for_words(text: str, expected: list[str]) -> None:
    assert pieces(text) == expected


@given(ANY_TEXT)
def test_every_character_but_spaces_is_in_exactly_one_word(text: str) -> None:
    words = words_of(text)

    assert "".join(pieces(text)) == "".join(character for character in text if not character.isspace())
    assert all(word.start < word.end for word in words)
    assert all(one.end <= other.start for one, other in pairwise(words))


@pytest.mark.parametrize(
    ("text", "index", "expected"),
    [
        ("a b c", 0, "b c"),
        ("a b c", 1, "a c"),
        ("a, b", 1, "a b"),
        ("you,idiot", 1, "you idiot"),
        ("you😂idiot", 1, "you idiot"),
        ("我爱你", 1, "我你"),
        ("alone", 0, ""),
    ],
)
def test_a_text_without_a_word_has_no_doubled_space_and_no_new_word(text: str, index: int, expected: str) -> None:
    assert without(text, words_of(text)[index]) == expected


@given(ANY_TEXT)
def test_leaving_a_word_out_leaves_the_other_characters(text: str) -> None:
    for word in words_of(text):
        left = without(text, word)
        rest = text[: word.start] + text[word.end :]
        assert "".join(left.split()) == "".join(rest.split())


def test_an_influence_is_the_probability_of_the_label_with_the_word_minus_without(tmp_path: Path) -> None:
    bundle = open_bundle(save_tiny_bundle(tmp_path / "bundle", threshold=0.35), threads=1)
    text = "you stupid dog!"

    found = influences(asked := variants(text, most_words=99, most_tokens=16), bundle.predict(asked.texts))

    whole = bundle.predict([text])
    label = whole.labels[0]
    without_each = bundle.predict(["stupid dog!", "you dog!", "you stupid!", "you stupid dog"]).probabilities[:, label]
    assert [word for word, _ in found.words] == words_of(text)
    np.testing.assert_allclose(
        [moved for _, moved in found.words], whole.probabilities[0, label] - without_each, atol=1e-6
    )
    assert found.left_out == 0


def test_a_text_without_words_has_no_influences(tmp_path: Path) -> None:
    bundle = open_bundle(save_tiny_bundle(tmp_path / "bundle"), threads=1)
    for text in ("", "  \n"):
        asked = variants(text, most_words=5, most_tokens=16)
        assert asked.texts == [text]
        assert influences(asked, bundle.predict(asked.texts)) == ((), 0)


def test_words_past_the_limit_are_counted() -> None:
    asked = variants("one two three four", most_words=2, most_tokens=99)

    assert asked.words == (Word(0, 3), Word(4, 7))
    assert asked.texts == ["one two three four", "two three four", "one three four"]
    assert asked.words_behind == 2


def test_words_without_a_token_do_nothing_however_many_there_are(tmp_path: Path) -> None:
    bundle = open_bundle(save_tiny_bundle(tmp_path / "bundle", max_length=16), threads=1)
    text = "\u200b " * 40 + "idiot"

    found = influences(asked := variants(text, most_words=200, most_tokens=16), bundle.predict(asked.texts))

    assert [moved for _, moved in found.words] == pytest.approx([0] * 16, abs=1e-6)


@pytest.mark.parametrize("words", [20, 500])
def test_words_that_the_model_cannot_reach_are_counted_and_not_weighed(tmp_path: Path, words: int) -> None:
    bundle = open_bundle(save_tiny_bundle(tmp_path / "bundle", max_length=16), threads=1)
    # 14 tokens are read beside the special ones: "idiotx" is two, so 13 words.
    text = " ".join(["idiotx", *(["good", "dog"] * words)])

    found = influences(asked := variants(text, most_words=200, most_tokens=16), bundle.predict(asked.texts))

    assert len(found.words) == 13
    assert found.left_out == 2 * words + 1 - 13
    assert sum(map(len, asked.texts)) < 20 * len(text)
