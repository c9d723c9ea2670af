"""Pieces of texts against the tokenizers library's own truncation."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, processors

from distilora.bundles.tokens import TextEncoder
from distilora.errors import BundleError
from tiny_bundle import tiny_tokenizer

BERT = ("[SEP]", 3), ("[CLS]", 2)
PROCESSORS = {
    "template": processors.TemplateProcessing(
        single="[CLS] [CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    ),
    "bert": processors.BertProcessing(*BERT),
    "roberta": processors.RobertaProcessing(*BERT),
    "sequence": processors.Sequence([processors.ByteLevel(), processors.BertProcessing(*BERT)]),
}
WORDS = st.lists(st.sampled_from(["you", "are", "stupid", "dogs!", "[SEP]", "[CLS]", "zzz", "☃", "thank"]), max_size=40)


def _tokenizer(kind: str) -> Tokenizer:
    tokenizer = tiny_tokenizer()
    tokenizer.post_processor = PROCESSORS[kind]
    return tokenizer


@pytest.mark.parametrize("kind", PROCESSORS)
@given(words=WORDS, max_length=st.integers(5, 30))
def test_pieces_are_what_the_tokenizers_library_itself_truncates_to(
    kind: str, words: list[str], max_length: int
) -> None:
    text, tokenizer = " ".join(words), _tokenizer(kind)
    encoder = TextEncoder(tokenizer.to_str().encode(), max_length=max_length, where="here")
    whole = len(tokenizer.encode(text))
    tokenizer.enable_truncation(max_length, stride=max_length // 4)
    first = tokenizer.encode(text)

    truncated, windows = encoder.encode([text]), encoder.encode([text], long_texts="windows")

    assert truncated.ids.tolist() == first.ids
    pieces = np.split(windows.ids, windows.starts[1:])
    assert [piece.tolist() for piece in pieces] == [first.ids, *(window.ids for window in first.overflowing)]
    for found in (truncated, windows):
        assert (found.tokens.tolist(), found.cut.tolist()) == ([whole], [whole > max_length])


def test_a_tokenizers_own_truncation_and_padding_are_not_used() -> None:
    tokenizer = _tokenizer("bert")
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=64)

    encoder = TextEncoder(tokenizer.to_str().encode(), max_length=30, where="here")

    assert encoder.encode(["you are so very stupid"]).lengths.tolist() == [7]


def test_special_tokens_that_leave_no_room_are_refused() -> None:
    with pytest.raises(BundleError, match="no room in 3 tokens"):
        TextEncoder(_tokenizer("template").to_str().encode(), max_length=3, where="here")


def test_windows_that_would_hardly_move_are_refused() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=" ".join(["[CLS]"] * 500 + ["$A"]), special_tokens=[("[CLS]", 2)]
    )

    with pytest.raises(BundleError, match="no room in 700 tokens"):
        TextEncoder(tokenizer.to_str().encode(), max_length=700, where="here")


_PANICS: dict[str, dict[str, object]] = {
    "cannot open it": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
    "cannot encode a text": {"pre_tokenizer": {"type": "FixedLength", "length": 0}},
    "cannot put special tokens around a text": {
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {},
        }
    },
}


@pytest.mark.parametrize("line", _PANICS)
def test_a_tokenizer_on_which_the_library_panics_is_refused_in_one_line(line: str) -> None:
    table = json.loads(tiny_tokenizer().to_str()) | _PANICS[line]

    with pytest.raises(BundleError, match=line) as refused:
        TextEncoder(json.dumps(table).encode(), max_length=16, where="here")
    assert "\n" not in str(refused.value)


def test_a_tokenizer_without_special_tokens_is_refused() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.post_processor = processors.ByteLevel()

    with pytest.raises(BundleError, match="adds no special tokens"):
        TextEncoder(tokenizer.to_str().encode(), max_length=8, where="here")
