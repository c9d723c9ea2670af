"""Balancers against their formulas in numpy, and what a checkpoint must keep of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from scipy.special import softmax
from torch import Tensor

from distilora.losses.balancing import (
    Balancer,
    DynamicWeightAverage,
    MovingAverage,
    RunningMean,
    Uncertainty,
    balancer,
)

NAMES = ("fixed", "moving-average", "uncertainty", "dwa")
TERMS = ("hard", "soft", "cosine_logits")
SETTINGS = {"hard": 0.2, "soft": 0.8, "cosine_logits": 0.1}
FIXED = np.array(list(SETTINGS.values()))
ONES = dict.fromkeys(TERMS, 1.0)


def losses(steps: int, *, seed: int = 0) -> NDArray[np.float64]:
    """Return the terms of each step, of very different sizes, shape (steps, terms)."""
    return np.random.default_rng(seed).gamma(2.0, [0.5, 20.0, 0.01], (steps, len(TERMS)))


def named(values: NDArray[np.float64]) -> dict[str, Tensor]:
    return {name: torch.tensor(value) for name, value in zip(TERMS, values, strict=True)}


def weights_of(found: dict[str, Tensor]) -> NDArray[np.float64]:
    return np.array([found[name].item() for name in TERMS])


@pytest.mark.parametrize("name", NAMES)
def test_the_total_of_a_first_step_and_its_gradient_follow_from_the_weights(name: str) -> None:
    terms = {key: value.requires_grad_() for key, value in named(losses(1)[0]).items()}
    found = balancer(name, TERMS).weigh(terms, SETTINGS, observe=True)
    weights = weights_of(found.weights)
    assert found.total.item() == pytest.approx((weights * losses(1)[0]).sum(), rel=1e-6)
    found.total.backward()
    gradients = [term.grad.item() for term in terms.values() if term.grad is not None]
    assert gradients == pytest.approx(weights, rel=1e-6)


def test_fixed_weights_are_those_of_the_settings_at_every_step() -> None:
    balancing = balancer("fixed", TERMS)
    for values in losses(20):
        found = balancing.weigh(named(values), SETTINGS, observe=True)
        assert weights_of(found.weights) == pytest.approx(FIXED, rel=1e-12)
        assert found.total.item() == pytest.approx((FIXED * values).sum(), rel=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.99])
def test_a_moving_average_divides_each_term_by_its_corrected_running_mean(momentum: float) -> None:
    # Kingma & Ba (2015), §3: the mean of an exponentially decaying average that begins at 0.
    balancing, average = MovingAverage(TERMS, momentum=momentum), np.zeros(len(TERMS))
    for step, values in enumerate(losses(40), start=1):
        average = momentum * average + (1 - momentum) * values
        found = balancing.weigh(named(values), SETTINGS, observe=True)
        expected = FIXED / (average / (1 - momentum**step))
        assert weights_of(found.weights) == pytest.approx(expected, rel=1e-6)
        assert found.total.item() == pytest.approx((expected * values).sum(), rel=1e-6)


@given(st.floats(0, 0.999), st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30))
def test_a_running_mean_lies_between_the_values_seen(momentum: float, values: list[float]) -> None:
    mean = RunningMean(1, momentum=momentum)
    for value in values:
        mean.update([0], torch.tensor([value]))
    assert min(values) * (1 - 1e-5) <= mean.read().item() <= max(values) * (1 + 1e-5)


def test_a_term_that_has_become_zero_is_not_divided_by_zero() -> None:
    balancing = MovingAverage(TERMS)
    found = balancing.weigh(named(np.array([0.0, 1.0, 2.0])), SETTINGS, observe=True)
    assert np.isfinite(weights_of(found.weights)).all()
    assert found.total.item() == pytest.approx(0.8 + 0.1)


def test_uncertainty_is_the_papers_form_for_classification() -> None:
    # Kendall, Gal & Cipolla (2018), eq. 10: L / σ² + ln σ, with s = ln σ².
    balancing, values = Uncertainty(TERMS), losses(1)[0]
    log_variances = np.array([0.3, -1.2, 2.0], dtype=np.float32)
    with torch.no_grad():
        balancing.log_variances.copy_(torch.from_numpy(log_variances))
    sigmas = np.sqrt(np.exp(log_variances.astype(np.float64)))
    found = balancing.weigh(named(values), ONES, observe=True)
    assert found.total.item() == pytest.approx((values / sigmas**2 + np.log(sigmas)).sum(), rel=1e-6)
    assert weights_of(found.weights) == pytest.approx(sigmas**-2, rel=1e-6)
    found.total.backward()
    assert balancing.log_variances.grad is not None
    assert balancing.log_variances.grad.numpy() == pytest.approx(0.5 - values / sigmas**2, rel=1e-6)


def test_learned_log_variances_settle_where_the_settings_weights_keep_their_meaning() -> None:
    # The derivative is 0 where exp(s) = 2 L, whatever the setting.
    balancing, values = Uncertainty(TERMS), np.array([0.5, 20.0, 0.01])
    optimiser = torch.optim.Rprop(balancing.parameters(), lr=0.1)
    for _ in range(60):
        optimiser.zero_grad()
        balancing.weigh(named(values), SETTINGS, observe=True).total.backward()
        optimiser.step()
    found = balancing.weigh(named(values), SETTINGS, observe=False)
    assert weights_of(found.weights) == pytest.approx(FIXED / (2 * values), rel=1e-3)


def test_only_uncertainty_has_parameters_for_the_optimiser() -> None:
    assert {name: sum(p.numel() for p in balancer(name, TERMS).parameters()) for name in NAMES} == {
        "fixed": 0,
        "moving-average": 0,
        "uncertainty": len(TERMS),
        "dwa": 0,
    }


def test_the_dynamic_weight_average_follows_the_means_of_the_last_two_epochs() -> None:
    # Liu, Johns & Davison (2019): λ = K softmax(r / T), r the ratio of the last two epochs' means, 1 in the first two.
    balancing, means = DynamicWeightAverage(TERMS), []
    for epoch in range(5):
        ratios = np.ones(len(TERMS)) if epoch < 2 else means[-1] / means[-2]
        expected = FIXED * len(TERMS) * softmax(ratios / 2)
        steps = losses(7 + epoch, seed=epoch)
        for values in steps:
            found = balancing.weigh(named(values), SETTINGS, observe=True)
            assert weights_of(found.weights) == pytest.approx(expected, rel=1e-6)
            assert found.total.item() == pytest.approx((expected * values).sum(), rel=1e-6)
        balancing.end_epoch()
        means.append(steps.mean(axis=0))


def test_the_term_that_fell_least_weighs_most_in_the_dynamic_average() -> None:
    balancing = DynamicWeightAverage(TERMS)
    for values in ([1.0, 1.0, 1.0], [0.9, 0.5, 0.1]):
        balancing.weigh(named(np.array(values)), ONES, observe=True)
        balancing.end_epoch()
    weights = weights_of(balancing.weigh(named(np.ones(3)), ONES, observe=False).weights)
    assert weights[0] > weights[1] > weights[2]
    assert weights.sum() == pytest.approx(len(TERMS))


def test_a_term_that_was_zero_or_absent_for_an_epoch_counts_as_unchanged() -> None:
    balancing = DynamicWeightAverage(TERMS)
    for hard in (0.0, 1.0):
        terms = named(np.array([hard, 1.0, 1.0]))
        terms.pop("cosine_logits")
        balancing.weigh(terms, ONES, observe=True)
        balancing.end_epoch()
    weights = weights_of(balancing.weigh(named(np.ones(3)), ONES, observe=False).weights)
    assert weights == pytest.approx(np.ones(3))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_observed_leaves_no_trace(name: str) -> None:
    balancing = _trained(name, steps=8)
    before = {key: value.clone() for key, value in balancing.state_dict().items()}
    balancing.weigh(named(1000 * losses(1)[0]), SETTINGS, observe=False)
    after = balancing.state_dict()
    assert all(np.array_equal(value, after[key], equal_nan=True) for key, value in before.items())


@pytest.mark.parametrize("name", ["moving-average", "dwa"])
def test_what_is_kept_of_the_terms_holds_no_gradient(name: str) -> None:
    balancing = balancer(name, TERMS)
    terms = {key: value.requires_grad_() for key, value in named(losses(1)[0]).items()}
    balancing.weigh(terms, SETTINGS, observe=True)
    assert not any(kept.requires_grad for kept in balancing.state_dict(keep_vars=True).values())


@pytest.mark.parametrize("name", NAMES)
def test_before_anything_was_seen_the_settings_weights_hold(name: str) -> None:
    found = balancer(name, TERMS).weigh(named(losses(1)[0]), SETTINGS, observe=False)
    assert weights_of(found.weights) == pytest.approx(FIXED, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kept", [5, 8, 11])
def test_a_restored_balancer_goes_on_to_the_last_bit(name: str, kept: int, tmp_path: Path) -> None:
    whole, part = _trained(name, steps=15), _trained(name, steps=kept)
    if state := part.state_dict():
        save_file(state, tmp_path / "balancer.safetensors")
    restored = balancer(name, TERMS)
    restored.load_state_dict(load_file(tmp_path / "balancer.safetensors") if state else {})
    _train(restored, range(kept, 15))
    step = named(losses(16)[15])
    once, again = (module.weigh(step, SETTINGS, observe=True) for module in (whole, restored))
    assert torch.equal(once.total, again.total)
    assert once.weights == again.weights


def _trained(name: str, *, steps: int) -> Balancer:
    balancing = balancer(name, TERMS)
    _train(balancing, range(steps))
    return balancing


def _train(balancing: Balancer, steps: range) -> None:
    """Take these of 16 steps, three an epoch; plain gradient descent, which has no state of its own."""
    for step in steps:
        total = balancing.weigh(named(losses(16)[step]), SETTINGS, observe=True).total
        for parameter in balancing.parameters():
            (gradient,) = torch.autograd.grad(total, [parameter])
            parameter.data.add_(gradient, alpha=-0.1)
        if step % 3 == 2:
            balancing.end_epoch()


@pytest.mark.parametrize("name", NAMES)
def test_a_term_that_is_absent_from_a_step_keeps_its_state(name: str) -> None:
    balancing, other = _trained(name, steps=4), _trained(name, steps=4)
    terms = named(losses(1, seed=9)[0])
    balancing.weigh({"hard": terms["hard"]}, SETTINGS, observe=True)
    everything = named(losses(1, seed=10)[0])
    found = balancing.weigh(everything, SETTINGS, observe=False).weights
    expected = other.weigh(everything, SETTINGS, observe=False).weights
    assert (found["soft"], found["cosine_logits"]) == (expected["soft"], expected["cosine_logits"])


@pytest.mark.parametrize("name", NAMES)
def test_terms_in_half_precision_are_summed_in_float32(name: str) -> None:
    terms = {key: value.to(torch.bfloat16) for key, value in named(losses(1)[0]).items()}
    assert balancer(name, TERMS).weigh(terms, SETTINGS, observe=True).total.dtype == torch.float32


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("terms", [{}, {"focal": torch.tensor(1.0)}])
def test_a_strange_or_empty_step_is_refused(name: str, terms: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match="give some of hard, soft, cosine_logits"):
        balancer(name, TERMS).weigh(terms, {**SETTINGS, "focal": 1.0}, observe=True)


def test_senseless_balancers_are_refused() -> None:
    with pytest.raises(ValueError, match='balance = "kendall": use fixed, moving-average, uncertainty, dwa'):
        balancer("kendall", TERMS)
    for terms in ((), ("hard", "hard")):
        with pytest.raises(ValueError, match="give at least one, each once"):
            balancer("fixed", terms)
    with pytest.raises(ValueError, match=r"momentum is 1\.0"):
        MovingAverage(TERMS, momentum=1.0)
    with pytest.raises(ValueError, match="temperature is 0"):
        DynamicWeightAverage(TERMS, temperature=0)
