"""Balanced batches: as long as ever, classes in the shares asked for, rows of a class used evenly, all repeatable."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_sample_weight

from distilora.data.batches import EpochLoader, LabelledRows, LengthSortedBatches
from distilora.data.class_sampling import BalancedBatches, balanced_rows, class_quotas, class_shares
from distilora.data.tokens import EncodedTexts

classes = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(np.array)
powers = st.floats(0, 1)
DRAW = np.random.default_rng(0)
LENGTHS = DRAW.integers(2, 60, size=203)
LABELS = (DRAW.random(203) < 0.12).astype(np.int64)


@settings(max_examples=50, deadline=None)
@given(classes)
def test_power_1_weighs_rows_as_scikit_learn_balances_classes(labels: NDArray[np.int64]) -> None:
    weights = compute_sample_weight("balanced", labels)
    expected = np.bincount(labels, weights=weights) / weights.sum()
    np.testing.assert_allclose(class_shares(np.bincount(labels), power=1.0), expected, atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(classes, powers)
def test_a_class_has_the_share_of_its_rows_times_frequency_to_the_minus_power(
    labels: NDArray[np.int64], power: float
) -> None:
    weight = {index: (count / len(labels)) ** -power for index, count in Counter(labels.tolist()).items()}
    whole = sum(weight[index] for index in labels.tolist())
    for index, share in enumerate(class_shares(np.bincount(labels), power=power)):
        expected = sum(weight[label] for label in labels.tolist() if label == index) / whole
        assert share == pytest.approx(expected, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(classes, powers)
def test_quotas_are_within_one_row_of_the_shares_and_make_up_the_epoch(labels: NDArray[np.int64], power: float) -> None:
    counts = np.bincount(labels)
    quotas = class_quotas(counts, power=power)
    assert quotas.sum() == len(labels)
    assert (np.abs(quotas - class_shares(counts, power=power) * len(labels)) < 1).all()
    assert (quotas[counts == 0] == 0).all()
    np.testing.assert_array_equal(class_quotas(counts, power=0.0), counts)


@settings(max_examples=50, deadline=None)
@given(classes, powers, st.integers(0, 2**31 - 1), st.integers(1, 6))
def test_rows_of_a_class_are_used_evenly_in_each_epoch_and_over_all(
    labels: NDArray[np.int64], power: float, seed: int, epochs: int
) -> None:
    drawn = [balanced_rows(labels, power=power, seed=seed, epoch=epoch) for epoch in range(epochs)]
    for rows in [*drawn, np.concatenate(drawn)]:
        times = np.bincount(rows, minlength=len(labels))
        for index in set(labels.tolist()):
            assert np.ptp(times[labels == index]) <= 1
    for rows in drawn:
        quotas = class_quotas(np.bincount(labels), power=power)
        np.testing.assert_array_equal(np.bincount(labels[rows], minlength=len(quotas)), quotas)


@settings(max_examples=50, deadline=None)
@given(classes, powers, st.integers(1, 9), st.integers(1, 3))
def test_processes_share_the_batches_of_one_epoch(
    labels: NDArray[np.int64], power: float, batch_size: int, processes: int
) -> None:
    lengths = np.arange(len(labels)) % 7 + 2
    shares = []
    for rank in range(processes):
        batches = BalancedBatches(
            lengths, labels, power=power, batch_size=batch_size, seed=3, rank=rank, processes=processes
        )
        batches.set_epoch(2)
        shares.append(list(batches))
        assert len(shares[-1]) == len(batches)
    alone = BalancedBatches(lengths, labels, power=power, batch_size=batch_size, seed=3)
    alone.set_epoch(2)
    whole = list(alone)
    assert sum(map(len, whole)) == len(labels)
    for rank, share in enumerate(shares):
        assert share == [batch[rank::processes] or [batch[rank % len(batch)]] for batch in whole]


def epoch_of(power: float = 1.0, *, seed: int = 0, epoch: int = 0) -> list[list[int]]:
    batches = BalancedBatches(LENGTHS, LABELS, power=power, batch_size=8, seed=seed)
    batches.set_epoch(epoch)
    return list(batches)


def test_batches_are_a_pure_function_of_labels_lengths_seed_and_epoch() -> None:
    torch.default_generator.manual_seed(1)
    first = epoch_of(seed=1, epoch=2)
    torch.rand(5)
    np.random.default_rng().random(5)
    assert epoch_of(seed=1, epoch=2) == first
    assert len({str(epoch_of(seed=seed, epoch=epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_power_1_shows_both_classes_equally_often_and_texts_of_like_length_together() -> None:
    batches = epoch_of()
    shown = LABELS[np.concatenate(batches)]
    assert abs((shown == 1).sum() - (shown == 0).sum()) <= 1
    spread = [np.ptp(LENGTHS[batch]) for batch in batches]
    plain = LengthSortedBatches(LENGTHS, batch_size=8, seed=0)
    assert len(batches) == len(plain) == len(list(plain))
    assert np.mean(spread) < 6  # of 58; unsorted batches have 45


def test_power_0_shows_every_row_once() -> None:
    assert sorted(row for batch in epoch_of(0.0, epoch=3) for row in batch) == list(range(len(LABELS)))


def test_all_of_a_frequent_class_comes_before_any_of_it_comes_again() -> None:
    frequent = np.flatnonzero(LABELS == 0)
    quota = class_quotas(np.bincount(LABELS), power=1.0)[0]
    needed = -(-len(frequent) // quota)
    seen = {row for epoch in range(needed) for batch in epoch_of(epoch=epoch) for row in batch}
    assert set(frequent.tolist()) <= seen


def test_a_loader_takes_them_as_it_takes_any_batches() -> None:
    texts = EncodedTexts(np.arange(LENGTHS.sum()), np.concatenate([[0], np.cumsum(LENGTHS)]), pad_id=0)
    batches = BalancedBatches(LENGTHS, LABELS, power=0.5, batch_size=8, seed=4)
    loader = EpochLoader(LabelledRows(texts, np.arange(len(LABELS))), batches)
    loader.set_epoch(2)
    assert [batch["labels"].tolist() for batch in loader] == epoch_of(0.5, seed=4, epoch=2)


@pytest.mark.parametrize("power", [-0.1, 1.1, float("nan")])
def test_a_power_outside_0_to_1_is_refused(power: float) -> None:
    with pytest.raises(ValueError, match="allowed is 0 to 1"):
        BalancedBatches(LENGTHS, LABELS, power=power, batch_size=8, seed=0)


def test_no_rows_are_drawn_from_none() -> None:
    assert balanced_rows(np.zeros(0, dtype=np.int64), power=1.0, seed=0, epoch=0).tolist() == []
