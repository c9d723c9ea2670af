"""Dropping tokens that given texts never use: those texts are answered as before, and no other text breaks."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from distilora.data.tokens import encode_texts
from distilora.errors import ModelError
from distilora.export.vocabulary import PrunedModel, prune_vocabulary
from distilora.models.inference import compute_logits
from tiny import FAMILIES, save_tiny_encoder

SEEN = (
    "the weather was lovely and the gardeners were friendly",
    "what an unfriendly gardener, he never answers!",
    "lovely lovely weather",
    "an answer with a snowman ☃ in it and a ☃☃ pair",
    "nobody was unlovely",
)
UNSEEN = (
    "snowmen everywhere, everyone wonders whether winter went",
    "the fisherman fished for the finest fish of the fishery",
    "unanswerable questions were questioned quickly",
    "jolly zebras vex the quick brown fox by jumping",
)
_LETTERS = "".join(sorted({character for text in (*SEEN, *UNSEEN) for character in text} - {"☃"}))
_LONGEST = 48
_UNKNOWN: dict[str, Any] = {"unk_token": "[UNK]"}
_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_PADDING_NAMES, _UNKNOWN_NAMES = ("[PAD]", "<pad>"), ("[UNK]", "<unk>")
KINDS = ("bert", "roberta", "deberta-v2", "modernbert")
"""A family for each kind of tokenizer: WordPiece, BPE, Unigram, BPE with its special tokens last."""


def _wordpiece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece({}, **_UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    # As in BERT's own, tokens that no text uses stand between the padding and the other special tokens.
    specials = [_SPECIALS[0], "[unused0]", "[unused1]", *_SPECIALS[1:]]
    _train(tokenizer, trainers.WordPieceTrainer(vocab_size=220, special_tokens=specials, show_progress=False))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 5), ("[CLS]", 4))
    tokenizer.decoder = decoders.WordPiece()
    document = json.loads(tokenizer.to_str())
    document["added_tokens"] = [token for token in document["added_tokens"] if token["content"] in _SPECIALS]
    return Tokenizer.from_str(json.dumps(document))


def _byte_pairs(specials: tuple[str, ...]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=list(specials), initial_alphabet=alphabet, show_progress=False
    )
    _train(tokenizer, trainer)
    return tokenizer


def _roberta() -> Tokenizer:
    tokenizer = _byte_pairs(("<s>", "<pad>", "</s>", "<unk>"))
    tokenizer.add_special_tokens(["<mask>"])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return tokenizer


def _modernbert() -> Tokenizer:
    tokenizer = _byte_pairs(("<|padding|>",))
    tokenizer.add_tokens(["  "])
    tokenizer.add_special_tokens(list(_SPECIALS))
    template = _template(tokenizer)
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return tokenizer


def _unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=160, special_tokens=["[PAD]", "[CLS]", "[SEP]", "[UNK]"], show_progress=False, **_UNKNOWN
    )
    _train(tokenizer, trainer)
    tokenizer.add_special_tokens(["[MASK]"])
    tokenizer.post_processor = _template(tokenizer)
    return tokenizer


def _train(tokenizer: Tokenizer, trainer: Any) -> None:
    # Without the snowman: it shall be unknown to WordPiece and Unigram.
    tokenizer.train_from_iterator([text.replace("☃", "") for text in (*SEEN, *UNSEEN)], trainer)


def _template(tokenizer: Tokenizer) -> processors.TemplateProcessing:
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    return processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)


_TOKENIZERS = {"roberta": _roberta, "modernbert": _modernbert, "deberta-v2": _unigram}


@cache
def _tokenizer_json(family: str) -> str:
    content: str = _TOKENIZERS.get(family, _wordpiece)().to_str()
    return content


def _wrapped(tokenizer_json: str) -> PreTrainedTokenizerBase:
    tokenizer = Tokenizer.from_str(tokenizer_json)
    padding = next(name for name in _PADDING_NAMES if tokenizer.token_to_id(name) is not None)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=padding)


@cache
def _classifier(family: str) -> PreTrainedModel:
    """Return a tiny random classifier for the family's tokenizer, with a few rows more than that has tokens."""
    tokenizer = _wrapped(_tokenizer_json(family))
    with TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        config = AutoConfig.from_pretrained(save_tiny_encoder(Path(folder), family))
        config.vocab_size = len(tokenizer) + 5
        config.pad_token_id = tokenizer.pad_token_id
        config.num_labels = 3
        config.cls_token_id = tokenizer.convert_tokens_to_ids("<s>" if family == "roberta" else "[CLS]")
        model = AutoModelForSequenceClassification.from_config(config).eval()
        # With random weights of the usual tiny spread, all texts would have almost the same logits.
        for weights in model.parameters():
            if weights.ndim == 2:
                torch.nn.init.normal_(weights, std=0.3)
    return model


def _pruned(family: str, texts: tuple[str, ...] = SEEN, *, max_length: int = _LONGEST) -> PrunedModel:
    return prune_vocabulary(_classifier(family), _tokenizer_json(family), texts, max_length=max_length)


def _ids(tokenizer_json: str, text: str) -> list[int]:
    ids: list[int] = Tokenizer.from_str(tokenizer_json).encode(text).ids
    return ids


def _logits(model: PreTrainedModel, tokenizer_json: str, texts: tuple[str, ...]) -> NDArray[np.float32]:
    return compute_logits(model, encode_texts(texts, _wrapped(tokenizer_json), max_length=_LONGEST))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_texts_given_keep_their_tokens_and_their_logits(family: str) -> None:
    pruned = _pruned(family)
    for text in SEEN:
        assert pruned.kept[_ids(pruned.tokenizer_json, text)].tolist() == _ids(_tokenizer_json(family), text)
    before = _logits(_classifier(family), _tokenizer_json(family), SEEN)
    after = _logits(pruned.model, pruned.tokenizer_json, SEEN)
    assert np.ptp(before, axis=0).min() > 1e-2  # else equality would prove nothing
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_ids_and_settings_agree_with_each_other(family: str) -> None:
    model, pruned = _classifier(family), _pruned(family)
    table, old_table = pruned.model.get_input_embeddings(), model.get_input_embeddings()
    assert pruned.after < pruned.before == old_table.num_embeddings == model.config.vocab_size
    assert (
        pruned.after == len(pruned.kept) == len(table.weight) == table.num_embeddings == pruned.model.config.vocab_size
    )
    assert torch.equal(table.weight, old_table.weight[torch.from_numpy(pruned.kept)])
    assert table.weight.requires_grad
    tokenizer = Tokenizer.from_str(pruned.tokenizer_json)
    assert sorted(tokenizer.get_vocab(with_added_tokens=True).values()) == list(range(pruned.after))
    padding = _wrapped(pruned.tokenizer_json).pad_token_id
    assert padding == table.padding_idx == pruned.model.config.pad_token_id
    assert pruned.kept[pruned.model.config.cls_token_id] == model.config.cls_token_id


@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert"])
def test_a_pruned_model_is_saved_and_loaded_as_any_other(family: str, tmp_path: Path) -> None:
    pruned = _pruned(family)
    pruned.model.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    np.testing.assert_array_equal(
        _logits(again, pruned.tokenizer_json, UNSEEN), _logits(pruned.model, pruned.tokenizer_json, UNSEEN)
    )


@pytest.mark.parametrize("family", KINDS)
@settings(max_examples=25, deadline=None)
@given(
    texts=st.lists(st.sampled_from((*SEEN, *UNSEEN)), max_size=4).map(tuple),
    max_length=st.integers(min_value=3, max_value=_LONGEST),
)
def test_whatever_the_texts_and_wherever_they_are_cut_their_tokens_stay(
    family: str, texts: tuple[str, ...], max_length: int
) -> None:
    pruned = _pruned(family, texts, max_length=max_length)
    for text in texts:
        cut = _ids(pruned.tokenizer_json, text)[:max_length]
        assert pruned.kept[cut].tolist() == _ids(_tokenizer_json(family), text)[:max_length]


@pytest.mark.parametrize("family", KINDS)
@settings(max_examples=150, deadline=None)
@given(text=st.text(alphabet=st.sampled_from(_LETTERS + "☃京é "), max_size=30))
def test_any_other_text_is_still_spelled_and_nothing_known_becomes_unknown(family: str, text: str) -> None:
    before, after, pruned = _pair(family)
    old, new = before.encode(text), after.encode(text)
    assert all(0 <= token < pruned.after for token in new.ids)
    if _unknowns(before, old.ids) == 0 and set(text) <= _characters_of_use(family):
        assert _unknowns(after, new.ids) == 0
        assert after.decode(new.ids) == before.decode(old.ids)


@cache
def _characters_of_use(family: str) -> set[str]:
    """Return the characters that a text given or a longer piece has; of bytes, all texts can be made."""
    if "<pad>" in _tokenizer_json(family) or "<|padding|>" in _tokenizer_json(family):
        return set(_LETTERS + "☃京é ")
    pieces = (piece.removeprefix("##") for piece in Tokenizer.from_str(_tokenizer_json(family)).get_vocab())
    return {character for word in (*SEEN, *pieces) if len(word) > 1 for character in word}


@cache
def _pair(family: str) -> tuple[Tokenizer, Tokenizer, PrunedModel]:
    pruned = _pruned(family)
    return Tokenizer.from_str(_tokenizer_json(family)), Tokenizer.from_str(pruned.tokenizer_json), pruned


def _unknowns(tokenizer: Tokenizer, ids: list[int]) -> int:
    return sum(ids.count(tokenizer.token_to_id(name)) for name in _UNKNOWN_NAMES)


@pytest.mark.parametrize("family", KINDS)
def test_a_text_that_was_not_given_falls_back_to_more_pieces(family: str) -> None:
    before, after, _ = _pair(family)
    assert all(len(after.encode(text).ids) > len(before.encode(text).ids) for text in UNSEEN)


def test_a_merge_stays_on_the_way_to_a_token_that_stays_and_in_its_order() -> None:
    before = json.loads(_tokenizer_json("roberta"))["model"]["merges"]
    after = json.loads(_pruned("roberta").tokenizer_json)["model"]["merges"]
    assert 0 < len(after) < len(before)
    assert after == [merge for merge in before if merge in after]


def test_older_tokenizer_files_whose_merges_are_strings_are_pruned_alike() -> None:
    document = json.loads(_tokenizer_json("roberta"))
    document["model"]["merges"] = [" ".join(merge) for merge in document["model"]["merges"]]
    pruned = prune_vocabulary(_classifier("roberta"), json.dumps(document), SEEN, max_length=_LONGEST)
    assert json.loads(pruned.tokenizer_json) == json.loads(_pruned("roberta").tokenizer_json)


def test_padding_that_is_fixed_in_the_file_gets_the_new_id() -> None:
    tokenizer = Tokenizer.from_str(_tokenizer_json("modernbert"))
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id(_SPECIALS[0]), pad_token=_SPECIALS[0], length=32)
    pruned = prune_vocabulary(_classifier("modernbert"), tokenizer.to_str(), SEEN, max_length=_LONGEST)
    assert _ids(pruned.tokenizer_json, "lovely")[-1] == pruned.model.config.pad_token_id


def test_a_piece_of_a_character_that_nothing_else_has_is_dropped() -> None:
    document = json.loads(_tokenizer_json("bert"))
    document["model"]["vocab"] |= {"京": len(document["model"]["vocab"])}
    pruned = prune_vocabulary(_classifier("bert"), json.dumps(document), SEEN, max_length=_LONGEST)
    kept = json.loads(pruned.tokenizer_json)["model"]["vocab"]
    assert "京" not in kept
    assert {"z", "##z"} & document["model"]["vocab"].keys() <= kept.keys()


def test_positions_that_count_from_the_padding_id_do_not_shift() -> None:
    # Three tokens that no text uses are moved before the padding token.
    document = json.loads(_tokenizer_json("roberta"))
    unused = sorted(document["model"]["vocab"].keys() - json.loads(_pruned("roberta").tokenizer_json)["model"]["vocab"])
    tokens = [*unused[:3], *(token for token in document["model"]["vocab"] if token not in unused[:3])]
    document["model"]["vocab"] = {token: index for index, token in enumerate(tokens)}
    for token in document["added_tokens"]:
        token["id"] = tokens.index(token["content"]) if token["content"] in tokens else len(tokens)
    document["post_processor"] |= {"sep": ["</s>", 5], "cls": ["<s>", 3]}
    model = _classifier("roberta")
    config = type(model.config).from_dict({**model.config.to_dict(), "vocab_size": len(tokens) + 1, "pad_token_id": 4})
    config.max_position_embeddings = _LONGEST + 5
    model = AutoModelForSequenceClassification.from_config(config).eval()
    pruned = prune_vocabulary(model, json.dumps(document), SEEN, max_length=_LONGEST)
    assert pruned.model.config.pad_token_id == 4
    np.testing.assert_allclose(
        _logits(pruned.model, pruned.tokenizer_json, SEEN),
        _logits(model, json.dumps(document), SEEN),
        rtol=0,
        atol=1e-6,
    )


def test_the_model_that_is_pruned_is_left_as_it_is() -> None:
    model = _classifier("bert")
    before = {name: weights.clone() for name, weights in model.state_dict().items()}
    settings_before = model.config.to_dict()
    pruned = _pruned("bert")
    assert model.config.to_dict() == settings_before
    assert all(torch.equal(weights, before[name]) for name, weights in model.state_dict().items())
    assert not {id(weights) for weights in model.parameters()} & {id(weights) for weights in pruned.model.parameters()}


def test_a_vocabulary_of_whole_words_is_refused() -> None:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "lovely": 1}, **_UNKNOWN))
    with pytest.raises(ModelError, match=r"kind WordLevel, and only WordPiece, BPE, Unigram can be pruned"):
        prune_vocabulary(_classifier("bert"), tokenizer.to_str(), SEEN, max_length=_LONGEST)


def test_a_tokenizer_with_more_tokens_than_the_model_has_rows_is_refused() -> None:
    tokenizer = Tokenizer.from_str(_tokenizer_json("bert"))
    tokenizer.add_special_tokens([f"[extra {number}]" for number in range(6)])
    with pytest.raises(ModelError, match=r"it has token id \d+, but the model has only ids 0 to \d+"):
        prune_vocabulary(_classifier("bert"), tokenizer.to_str(), SEEN, max_length=_LONGEST)


def test_a_vocabulary_in_which_a_dropped_piece_hid_an_unknown_word_is_refused() -> None:
    # "xaé" is unknown because "xa" is taken first and no "##é" follows; without "xa" it would be x ##aé.
    pieces = ["[PAD]", "[UNK]", "x", "b", "xa", "##a", "##aé"]
    tokenizer = Tokenizer(models.WordPiece({piece: index for index, piece in enumerate(pieces)}, **_UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    with pytest.raises(ModelError, match="once pruned, it cuts text 1 differently; export without pruning"):
        prune_vocabulary(_classifier("bert"), tokenizer.to_str(), ["baé", "xaé"], max_length=_LONGEST)


def test_the_rest_of_a_word_in_which_a_text_is_cut_stays_too() -> None:
    # Without the merge to "cd", which comes first, "abcd" would begin with "a" and no more with "ab".
    pieces = ["a", "b", "c", "d", "cd", "bc", "ab"]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("c", "d"), ("b", "c"), ("a", "b")]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    pruned = prune_vocabulary(_classifier("bert"), tokenizer.to_str(), ["abcd", "bc"], max_length=1)
    assert _ids(pruned.tokenizer_json, "abcd") == _ids(tokenizer.to_str(), "abcd") == [6, 4]


def _handmade_unigram(pieces: list[tuple[str, float]], **options: Any) -> str:
    tokenizer = Tokenizer(models.Unigram([("[UNK]", 0.0), *pieces], unk_id=0, **options))
    content: str = tokenizer.to_str()
    return content


def test_an_unknown_character_stays_as_unlikely_as_it_was() -> None:
    # Unigram gives it the lowest score of all pieces - 10: without "zz", xa ☃ bc would beat x a☃b c.
    pieces = [("x", -15.0), ("a☃b", -15.0), ("c", -15.0), ("xa", -1.0), ("bc", -1.0), ("zz", -50.0)]
    pieces += [(letter, -16.0) for letter in "abz"]
    tokenizer_json = _handmade_unigram(pieces)
    pruned = prune_vocabulary(_classifier("bert"), tokenizer_json, ["xa☃bc", "xa", "bc"], max_length=_LONGEST)
    assert pruned.kept[_ids(pruned.tokenizer_json, "xa☃bc")].tolist() == _ids(tokenizer_json, "xa☃bc") == [1, 2, 3]


def test_a_character_that_is_spelled_in_bytes_stays_so() -> None:
    in_bytes = [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
    tokenizer_json = _handmade_unigram([("a", -1.0), *in_bytes], byte_fallback=True)
    model = _classifier("roberta")  # with rows enough
    pruned = prune_vocabulary(model, tokenizer_json, ["a"], max_length=_LONGEST)
    old = _ids(tokenizer_json, "aé")
    assert pruned.kept[_ids(pruned.tokenizer_json, "aé")].tolist() == old
    assert 0 not in old
