"""Dropping tokens that given texts never use: fewer rows of word embeddings, the same answers for those texts.

A token that is dropped leaves the tokenizer too, so that a text with it falls back to shorter pieces that are kept.
What is kept beside the tokens seen makes sure of two things. The texts given keep their tokens. And a word that was
known becomes unknown only if it has a character that those texts do not have and no longer piece has either: a piece
of one such character spells nothing but itself, and no text has taught the model what it means. Both follow from how
each kind of tokenizer chooses its pieces:

* WordPiece takes the longest piece that fits; the pieces of one character stay as its last resort.
* BPE applies merges in order; a kept token keeps every merge on the way to it, and all that no merge makes stays.
* Unigram takes the likeliest way to cut a word, so a way whose pieces all stay remains the likeliest; the pieces of one
  character and of one byte stay as its last resort.

Source:
    Abdaoui, Pradel & Sigel (2020), "Load What You Need: Smaller Versions of Multilingual BERT",
    https://aclanthology.org/2020.sustainlp-1.16: a model without the rows of unused tokens answers the same.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer
from torch import nn
from transformers import PreTrainedModel

from distilora.errors import ModelError

_TEXTS_A_CALL = 4096
_BYTE_PIECE = "<0x"
_COUNTS_POSITIONS_FROM_PADDING = ("roberta",)
Table = dict[str, Any]


@dataclass(frozen=True, eq=False)
class PrunedModel:
    """A model and its tokenizer with fewer tokens."""

    model: PreTrainedModel
    """A copy with fewer rows of word embeddings; everything else is as it was."""
    tokenizer_json: str
    """The tokenizer for it, as the content of a ``tokenizer.json``."""
    before: int
    """Rows of word embeddings before."""
    after: int
    """Rows of word embeddings now."""
    kept: NDArray[np.int64]
    """Former id of each token, ascending, shape (after,)."""


def prune_vocabulary(
    model: PreTrainedModel, tokenizer_json: str, texts: Sequence[str], *, max_length: int
) -> PrunedModel:
    """Return a copy of a model without the tokens that no text uses, and a tokenizer that falls back to the others.

    For ``texts``, cut to ``max_length``, the tokens stay what they were, and so do the logits. Other texts may be cut
    into more and shorter tokens, and so be answered differently.

    Args:
        model: a classifier of a family that distilora knows; it is not changed.
        tokenizer_json: its tokenizer, WordPiece, BPE or Unigram, as the content of a ``tokenizer.json``.
        texts: what decides which tokens stay: the texts the model was trained on.
        max_length: tokens of a text that the model reads, special tokens included; a word at the cut counts whole.

    Raises:
        ModelError: the tokenizer is of another kind, does not fit the model, or cannot be pruned without a change of
            the tokens of ``texts``.
    """
    document: Table = json.loads(tokenizer_json)
    tokenizer = _whole_texts(tokenizer_json)
    rows = model.get_input_embeddings().num_embeddings
    kept = _kept_ids(document, tokenizer, model=model, seen=_seen_ids(tokenizer, texts, max_length=max_length))
    if kept[-1] >= rows:
        raise ModelError(f"tokenizer: it has token id {kept[-1]}, but the model has only ids 0 to {rows - 1}")
    new_ids = {int(old): new for new, old in enumerate(kept)}
    pruned_json = json.dumps(_pruned_document(document, new_ids), ensure_ascii=False)
    _check_tokens_unchanged(tokenizer, _whole_texts(pruned_json), texts, new_ids=new_ids, max_length=max_length)
    return PrunedModel(
        model=_with_rows(model, kept, new_ids), tokenizer_json=pruned_json, before=rows, after=len(kept), kept=kept
    )


def _whole_texts(tokenizer_json: str) -> Tokenizer:
    """Return a tokenizer that neither cuts nor pads."""
    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


# Which tokens are kept


def _seen_ids(tokenizer: Tokenizer, texts: Sequence[str], *, max_length: int) -> set[int]:
    """Return the tokens that a model reads of texts, and the rest of the word in which a text is cut."""
    seen: set[int] = set()
    for encoding in _encodings(tokenizer, texts):
        ids, words = encoding.ids, encoding.word_ids
        end = min(max_length, len(ids))
        while end < len(ids) and words[end] is not None and words[end] == words[end - 1]:
            end += 1
        seen.update(ids[:end])
    return seen


def _encodings(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[Encoding]:
    for start in range(0, len(texts), _TEXTS_A_CALL):
        yield from tokenizer.encode_batch(list(texts[start : start + _TEXTS_A_CALL]))


def _kept_ids(document: Table, tokenizer: Tokenizer, *, model: PreTrainedModel, seen: set[int]) -> NDArray[np.int64]:
    """Return the ids to keep, ascending: those that pieces, added tokens and the model itself need."""
    ids: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
    pieces = _kind(document).kept_pieces(document["model"], {piece for piece, token in ids.items() if token in seen})
    added = {token["content"] for token in document["added_tokens"]}
    kept = seen | {ids[piece] for piece in (pieces | added) & ids.keys()}
    padding = model.config.pad_token_id
    if padding is not None:
        kept.add(padding)
        if model.config.model_type in _COUNTS_POSITIONS_FROM_PADDING:
            kept.update(range(padding))  # else all positions would shift
    return np.array(sorted(kept), dtype=np.int64)


def _kept_wordpieces(model: Table, seen: set[str]) -> set[str]:
    """Return seen pieces and those of one character, which stand at the start of a word or, with ##, inside it."""
    prefix = model["continuing_subword_prefix"]
    letters = {piece: piece.removeprefix(prefix) or piece for piece in model["vocab"]}
    return seen | _last_resort(letters, seen) | {model["unk_token"]}


def _last_resort(letters: Mapping[str, str], seen: set[str]) -> set[str]:
    """Return the pieces of one character, where a seen piece or a longer one has that character too.

    Args:
        letters: what each piece spells.
        seen: pieces seen.
    """
    spelled = {character for piece, word in letters.items() if len(word) > 1 or piece in seen for character in word}
    return {piece for piece, word in letters.items() if len(word) == 1 and word in spelled}


def _kept_merges(model: Table, seen: set[str]) -> set[str]:
    """Return seen pieces, all that no merge makes (bytes, characters), and all on the way from those to these."""
    parents: dict[str, list[str]] = {}
    for left, right in _merges(model):
        parents.setdefault(_merged(model, left, right), []).extend((left, right))
    kept = set(model["vocab"]) - set(parents)
    waiting = list(seen - kept)
    while waiting:
        piece = waiting.pop()
        if piece not in kept:
            kept.add(piece)
            waiting.extend(parents.get(piece, ()))
    return kept


def _merges(model: Table) -> list[tuple[str, str]]:
    """Return the pairs that are merged, first ones first; older files write a pair as one string."""
    pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"])
    return [(left, right) for left, right in pairs]


def _merged(model: Table, left: str, right: str) -> str:
    return left + right.removeprefix(model.get("continuing_subword_prefix") or "")


def _kept_unigrams(model: Table, seen: set[str]) -> set[str]:
    """Return seen pieces, those of one character, all of one byte, the unknown one, and the least likely one."""
    vocabulary: list[tuple[str, float]] = model["vocab"]
    single = _last_resort({piece: piece for piece, _ in vocabulary}, seen)
    single.update(piece for piece, _ in vocabulary if piece.startswith(_BYTE_PIECE))
    # An unknown character's score is measured from the lowest of all: it must not move.
    least_likely = min(vocabulary, key=lambda entry: entry[1])[0]
    unknown = set() if model["unk_id"] is None else {vocabulary[model["unk_id"]][0]}
    return seen | single | unknown | {least_likely}


# The tokenizer without the others


def _pruned_table(model: Table, new_ids: Mapping[int, int]) -> Table:
    """Return a WordPiece or BPE model with the kept tokens only, under their new ids."""
    vocabulary = {piece: new_ids[token] for piece, token in model["vocab"].items() if token in new_ids}
    return {**model, "vocab": vocabulary}


def _pruned_merges(model: Table, new_ids: Mapping[int, int]) -> Table:
    """Return a BPE model with the kept tokens and the merges that make them, in their order."""
    table = _pruned_table(model, new_ids)
    merges = [[left, right] for left, right in _merges(model) if _merged(model, left, right) in table["vocab"]]
    return {**table, "merges": merges}


def _pruned_unigrams(model: Table, new_ids: Mapping[int, int]) -> Table:
    """Return a Unigram model with the kept pieces and their scores; a piece's id is its place in the list."""
    vocabulary = [entry for token, entry in enumerate(model["vocab"]) if token in new_ids]
    return {**model, "vocab": vocabulary, "unk_id": None if model["unk_id"] is None else new_ids[model["unk_id"]]}


class _Kind(NamedTuple):
    """What differs between kinds of tokenizers."""

    kept_pieces: Callable[[Table, set[str]], set[str]]
    pruned: Callable[[Table, Mapping[int, int]], Table]


_KINDS: Mapping[str, _Kind] = {
    "WordPiece": _Kind(_kept_wordpieces, _pruned_table),
    "BPE": _Kind(_kept_merges, _pruned_merges),
    "Unigram": _Kind(_kept_unigrams, _pruned_unigrams),
}


def _kind(document: Table) -> _Kind:
    name = document["model"]["type"]
    if name not in _KINDS:
        raise ModelError(
            f"tokenizer: its vocabulary is of the kind {name}, and only {', '.join(_KINDS)} can be pruned; "
            "export without pruning"
        )
    return _KINDS[name]


def _pruned_document(document: Table, new_ids: Mapping[int, int]) -> Table:
    """Return a tokenizer with the kept tokens only, under their new ids."""
    pruned = {
        **document,
        "added_tokens": [{**token, "id": new_ids[token["id"]]} for token in document["added_tokens"]],
        "post_processor": _renumbered(document["post_processor"], new_ids),
        "model": _kind(document).pruned(document["model"], new_ids),
    }
    if document["padding"] is not None:
        pruned["padding"] = {**document["padding"], "pad_id": new_ids[document["padding"]["pad_id"]]}
    return pruned


def _renumbered(processor: Table | None, new_ids: Mapping[int, int]) -> Table | None:
    """Return what puts special tokens around a text, with their new ids."""
    if processor is None:
        return None
    changed = dict(processor)
    if "processors" in changed:
        changed["processors"] = [_renumbered(inner, new_ids) for inner in changed["processors"]]
    if "special_tokens" in changed:
        changed["special_tokens"] = {
            name: {**token, "ids": [new_ids[old] for old in token["ids"]]}
            for name, token in changed["special_tokens"].items()
        }
    for end in {"sep", "cls"} & changed.keys():
        changed[end] = [changed[end][0], new_ids[changed[end][1]]]
    return changed


def _check_tokens_unchanged(
    before: Tokenizer, after: Tokenizer, texts: Sequence[str], *, new_ids: Mapping[int, int], max_length: int
) -> None:
    """Raise a :class:`ModelError` unless a pruned tokenizer names its tokens and cuts the texts as before."""
    names = {new: before.id_to_token(old) for old, new in new_ids.items()}
    if any(names.get(token) != piece for piece, token in after.get_vocab(with_added_tokens=True).items()):
        raise ModelError("tokenizer: its tokens cannot be numbered anew; export without pruning")
    pairs = zip(_encodings(before, texts), _encodings(after, texts), strict=True)
    for row, (old, new) in enumerate(pairs):
        if [new_ids.get(token) for token in old.ids[:max_length]] != new.ids[:max_length]:
            raise ModelError(f"tokenizer: once pruned, it cuts text {row} differently; export without pruning")


# The model without their rows


def _with_rows(model: PreTrainedModel, kept: NDArray[np.int64], new_ids: Mapping[int, int]) -> PreTrainedModel:
    """Return a copy of a model that has only the kept rows of word embeddings, with its special ids renumbered."""
    table = model.get_input_embeddings()
    # Where the copy would put the whole table, it puts the small one.
    pruned: PreTrainedModel = copy.deepcopy(model, {id(table): _kept_rows(table, kept, new_ids)})
    pruned.config.vocab_size = len(kept)
    for name, value in _special_ids(pruned.config.to_dict()):
        setattr(pruned.config, name, new_ids.get(value))
    return pruned


def _kept_rows(table: nn.Embedding, kept: NDArray[np.int64], new_ids: Mapping[int, int]) -> nn.Embedding:
    weight = table.weight.detach()[torch.from_numpy(kept).to(table.weight.device)]  # (kept tokens, width)
    padding = None if table.padding_idx is None else new_ids[table.padding_idx]
    rows = nn.Embedding(len(kept), table.embedding_dim, padding, _weight=weight)
    return rows.requires_grad_(table.weight.requires_grad)


def _special_ids(settings: Mapping[str, Any]) -> Iterable[tuple[str, int]]:
    return [(name, value) for name, value in settings.items() if name.endswith("_token_id") and isinstance(value, int)]
