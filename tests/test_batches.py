"""Token ids of many texts, and which of them stand together in a step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from distilora.data.batches import EpochLoader, LabelledRows, LengthSortedBatches
from distilora.data.tokens import EncodedTexts, encode_texts
from tiny import tiny_tokenizer

LENGTHS = np.random.default_rng(0).integers(2, 60, size=203)
lengths_of_texts = st.lists(st.integers(0, 9), min_size=1, max_size=40).map(np.array)


def encoded(lengths: NDArray[np.int64], *, pad_id: int = 0) -> EncodedTexts:
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return EncodedTexts(ids=np.arange(5, 5 + starts[-1]), starts=starts, pad_id=pad_id)


def batches_of(seed: int = 0, epoch: int = 0, rank: int = 0, processes: int = 1) -> list[list[int]]:
    batches = LengthSortedBatches(LENGTHS, batch_size=8, seed=seed, rank=rank, processes=processes)
    batches.set_epoch(epoch)
    found = list(batches)
    assert len(found) == len(batches)
    return found


@given(lengths_of_texts, st.integers(1, 9), st.integers(0, 2**31 - 1), st.integers(0, 99))
def test_every_row_comes_exactly_once_in_an_epoch(
    lengths: NDArray[np.int64], batch_size: int, seed: int, epoch: int
) -> None:
    batches = LengthSortedBatches(lengths, batch_size=batch_size, seed=seed)
    batches.set_epoch(epoch)
    found = list(batches)
    assert sorted(row for batch in found for row in batch) == list(range(len(lengths)))
    assert sum(len(batch) < batch_size for batch in found) <= 1


@given(lengths_of_texts, st.integers(1, 9), st.integers(1, 4))
def test_the_shares_of_all_processes_are_together_the_batches_of_one(
    lengths: NDArray[np.int64], batch_size: int, processes: int
) -> None:
    shares = [
        list(LengthSortedBatches(lengths, batch_size=batch_size, seed=3, rank=rank, processes=processes))
        for rank in range(processes)
    ]
    whole = list(LengthSortedBatches(lengths, batch_size=batch_size, seed=3))
    for batch, parts in zip(whole, zip(*shares, strict=True), strict=True):
        assert all(parts)  # a process without a row could not take part in the step
        assert {row for part in parts for row in part} == set(batch)
        if len(batch) >= processes:
            assert sum(map(len, parts)) == len(batch)
            assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_batches_are_a_pure_function_of_lengths_seed_epoch_and_rank() -> None:
    torch.default_generator.manual_seed(1)
    first = batches_of(seed=1, epoch=2)
    torch.rand(5)
    np.random.default_rng().random(5)
    assert batches_of(seed=1, epoch=2) == first
    assert len({str(batches_of(seed=seed, epoch=epoch)) for seed in range(3) for epoch in range(3)}) == 9
    assert batches_of(rank=1, processes=2) == [batch[1::2] for batch in batches_of()]


def test_a_loader_passes_the_epoch_on() -> None:
    texts = encoded(LENGTHS)
    loader = EpochLoader(LabelledRows(texts, np.arange(len(texts))), LengthSortedBatches(LENGTHS, batch_size=8, seed=4))
    for epoch in (0, 3, 3):
        loader.set_epoch(epoch)
        assert [batch["labels"].tolist() for batch in loader] == batches_of(seed=4, epoch=epoch)


def test_hardly_anything_is_padding_on_lengths_like_those_of_tweets() -> None:
    # Tweets of davidson in minilm's tokens: median 22, a twentieth above 43.
    lengths = np.clip(np.random.default_rng(2).gamma(5, 4.7, size=5000).astype(np.int64) + 2, 3, 128)
    batches = list(LengthSortedBatches(lengths, batch_size=32, seed=0))
    texts = encoded(lengths)
    padded = sum(texts.padded(batch)[0].size for batch in batches)
    assert 1 - lengths.sum() / padded < 0.09  # half of it from rounding lengths up to a multiple of 4
    # Seeing short texts first would be a curriculum; the order of lengths must be random.
    order = [lengths[batch].mean() for batch in batches]
    assert abs(np.corrcoef(np.arange(len(order)), order)[0, 1]) < 0.3


@given(st.lists(st.integers(0, 7), min_size=1, max_size=12).map(np.array), st.data())
def test_padding_agrees_with_a_plain_loop(lengths: NDArray[np.int64], data: st.DataObject) -> None:
    texts = encoded(lengths, pad_id=3)
    rows = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=9))
    ids, mask = texts.padded(rows)
    longest = max(lengths[row] for row in rows)
    while longest % 4 and longest < max(lengths):
        longest += 1
    for row, row_ids, row_mask in zip(rows, ids.tolist(), mask.tolist(), strict=True):
        own = texts.ids[texts.starts[row] : texts.starts[row + 1]].tolist()
        padding = longest - len(own)
        assert row_ids == own + [3] * padding
        assert row_mask == [1] * len(own) + [0] * padding


def test_a_batch_holds_what_belongs_to_its_rows() -> None:
    texts = encoded(np.array([3, 1, 2]))
    logits = np.arange(6, dtype=np.float32).reshape(3, 2)
    batch = LabelledRows(texts, np.array([7, 8, 9]), logits).__getitems__([2, 1])
    assert batch["input_ids"].tolist() == [[9, 10, 0], [8, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [1, 0, 0]]
    assert batch["labels"].tolist() == [9, 8]
    assert batch["teacher_logits"].tolist() == [[4, 5], [2, 3]]
    assert "teacher_logits" not in LabelledRows(texts, np.array([7, 8, 9])).__getitems__([0])


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_texts_are_encoded_as_their_tokenizer_encodes_each_of_them(family: str, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(family)
    texts = ["you are nice", "", "such a rude , rude dog !", "a " * 50]
    encoded_texts = encode_texts(texts, tokenizer, max_length=8)
    assert encoded_texts.pad_id == tokenizer.pad_token_id
    assert encoded_texts.lengths.tolist() == [5, 2, 8, 8]
    one_by_one = [tokenizer(text, truncation=True, max_length=8)["input_ids"] for text in texts]
    assert encoded_texts.ids.tolist() == [token for ids in one_by_one for token in ids]
    assert encode_texts(texts, tokenizer, max_length=None).lengths.tolist() == [5, 2, 9, 52]
