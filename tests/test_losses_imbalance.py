"""Focal loss and R-Drop against their formulas in numpy, scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from scipy.stats import entropy
from sklearn.metrics import log_loss
from torch import Tensor

from distilora.losses.class_weights import class_weights
from distilora.losses.consistency import r_drop_loss
from distilora.losses.imbalance import focal_loss
from distilora.losses.terms import hard_target_loss

ROWS, LABELS = 24, 3
TRUE = np.random.default_rng(1).choice(LABELS, ROWS, p=[0.6, 0.3, 0.1])
LABEL = torch.from_numpy(TRUE)


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(scale=2, size=shape))


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_the_focal_loss_is_its_formula(gamma: float, power: float) -> None:
    # Lin et al. (2017), eq. 4 and 5, averaged over rows as weighted cross-entropies are.
    logits = drawn(ROWS, LABELS, seed=2)
    weights = class_weights(TRUE, power=power, classes=LABELS)
    p = softmax(logits.numpy(), axis=1)[np.arange(ROWS), TRUE]
    counts = np.ones(ROWS) if weights is None else weights.double().numpy()[TRUE]
    expected = np.average(-((1 - p) ** gamma) * np.log(p), weights=counts)
    found = focal_loss(logits, LABEL, gamma=gamma, class_weights=None if weights is None else weights.double())
    assert found.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_a_gamma_of_zero_is_the_cross_entropy(power: float) -> None:
    logits, weights = drawn(ROWS, LABELS, seed=2), class_weights(TRUE, power=power, classes=LABELS)
    weights = None if weights is None else weights.double()
    plain = hard_target_loss(logits, LABEL, class_weights=weights)
    assert focal_loss(logits, LABEL, gamma=0.0, class_weights=weights).item() == pytest.approx(plain.item())
    if weights is None:
        assert plain.item() == pytest.approx(log_loss(TRUE, softmax(logits.numpy(), axis=1), labels=range(LABELS)))


def test_easy_rows_lose_their_weight() -> None:
    easy, hard = torch.tensor([[4.0, 0.0]]).double(), torch.tensor([[0.0, 4.0]]).double()
    label = torch.tensor([0])
    kept = [(focal_loss(row, label, gamma=2.0) / hard_target_loss(row, label)).item() for row in (easy, hard)]
    assert kept == pytest.approx([softmax([4, 0])[1] ** 2, softmax([4, 0])[0] ** 2])  # (1 − p)²


@given(st.floats(0, 5), st.sampled_from([0.0, 30.0, 200.0, -200.0]))
def test_no_row_however_sure_makes_the_gradient_infinite(gamma: float, margin: float) -> None:
    logits = torch.tensor([[margin, 0.0]], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([0]), gamma=gamma)
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_a_negative_gamma_is_refused() -> None:
    with pytest.raises(ValueError, match=r"gamma is -1\.0"):
        focal_loss(drawn(ROWS, LABELS, seed=2), LABEL, gamma=-1.0)


def test_r_drop_is_the_mean_of_both_divergences() -> None:
    first, second = drawn(ROWS, LABELS, seed=3), drawn(ROWS, LABELS, seed=4)
    p, q = softmax(first.numpy(), axis=1), softmax(second.numpy(), axis=1)
    expected = (entropy(p, q, axis=1) + entropy(q, p, axis=1)).mean() / 2
    assert r_drop_loss(first, second).item() == pytest.approx(expected, rel=1e-6)
    assert r_drop_loss(second, first).item() == pytest.approx(expected, rel=1e-6)


def test_r_drop_reaches_both_passes() -> None:
    # d/df of ½ (KL(p‖q) + KL(q‖p)) over logits f of p: ½ (p (d − p·d) + p − q), with d = ln p − ln q.
    first, second = (drawn(ROWS, LABELS, seed=seed).requires_grad_() for seed in (3, 4))
    r_drop_loss(first, second).backward()
    for one, other in ((first, second), (second, first)):
        p, q = (softmax(logits.detach().numpy(), axis=1) for logits in (one, other))
        d = log_softmax(one.detach().numpy(), axis=1) - log_softmax(other.detach().numpy(), axis=1)
        expected = (p * (d - (p * d).sum(axis=1, keepdims=True)) + p - q) / 2 / ROWS
        assert one.grad is not None
        np.testing.assert_allclose(one.grad.numpy(), expected, atol=1e-12)


def test_equal_passes_are_consistent() -> None:
    logits = drawn(ROWS, LABELS, seed=3)
    assert r_drop_loss(logits, logits + 7).item() == pytest.approx(0, abs=1e-12)


def test_passes_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(24, 3\) and \(23, 3\)"):
        r_drop_loss(drawn(ROWS, LABELS, seed=3), drawn(ROWS - 1, LABELS, seed=4))
