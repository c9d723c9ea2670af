"""Loss terms against their formulas in numpy and scikit-learn, and what must hold for any logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from torch import Tensor

from distilora.config import DistillationSettings
from distilora.losses.balancing import balancer
from distilora.losses.class_weights import class_weights
from distilora.losses.consistency import r_drop_loss
from distilora.losses.objective import UNLABELLED, LayerPairs, Objective
from distilora.losses.terms import cosine_hidden_loss, cosine_logit_loss, hard_target_loss, soft_target_loss
from distilora.models.taps import LayerInside

ROWS, LABELS = 24, 3
TRUE = np.random.default_rng(1).choice(LABELS, ROWS, p=[0.6, 0.3, 0.1])


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(scale=2, size=shape))


def kullback_leibler(teacher: NDArray[np.float64], student: NDArray[np.float64]) -> float:
    """Return the mean of sum(p · (ln p − ln q)) over rows, from logits."""
    return float(
        (softmax(teacher, axis=1) * (log_softmax(teacher, axis=1) - log_softmax(student, axis=1))).sum(1).mean()
    )


def test_cross_entropy_is_scikit_learn_s_log_loss() -> None:
    logits = drawn(ROWS, LABELS, seed=2)
    expected = log_loss(TRUE, softmax(logits.numpy(), axis=1), labels=range(LABELS))
    assert hard_target_loss(logits, torch.from_numpy(TRUE)).item() == pytest.approx(expected)


def test_balanced_class_weights_are_scikit_learn_s() -> None:
    logits = drawn(ROWS, LABELS, seed=2)
    weights = class_weights(TRUE, power=1.0, classes=LABELS)
    assert weights is not None
    assert weights.numpy() == pytest.approx(compute_class_weight("balanced", classes=np.arange(LABELS), y=TRUE))
    expected = log_loss(
        TRUE,
        softmax(logits.numpy(), axis=1),
        labels=range(LABELS),
        sample_weight=compute_sample_weight("balanced", TRUE),
    )
    loss = hard_target_loss(logits, torch.from_numpy(TRUE), class_weights=weights.double())
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert class_weights(TRUE, power=0.0, classes=LABELS) is None


def test_square_root_class_weights_lie_between_and_average_one_over_the_rows() -> None:
    weights = class_weights(TRUE, power=0.5, classes=LABELS)
    assert weights is not None
    counts = np.bincount(TRUE)
    assert weights.numpy() * np.sqrt(counts) == pytest.approx(float(weights[0]) * np.sqrt(counts[0]))
    assert weights.numpy()[TRUE].mean() == pytest.approx(1)


def test_label_smoothing_mixes_the_target_with_the_uniform_distribution() -> None:
    logits = drawn(ROWS, LABELS, seed=2)
    target = 0.9 * np.eye(LABELS)[TRUE] + 0.1 / LABELS
    expected = -(target * log_softmax(logits.numpy(), axis=1)).sum(axis=1).mean()
    assert hard_target_loss(logits, torch.from_numpy(TRUE), label_smoothing=0.1).item() == pytest.approx(expected)


def test_class_weights_count_rows_and_leave_their_smoothed_targets_alone() -> None:
    logits, weights = drawn(ROWS, LABELS, seed=2), np.arange(1.0, LABELS + 1)
    target = 0.9 * np.eye(LABELS)[TRUE] + 0.1 / LABELS
    expected = np.average(-(target * log_softmax(logits.numpy(), axis=1)).sum(axis=1), weights=weights[TRUE])
    options = {"class_weights": torch.from_numpy(weights), "label_smoothing": 0.1}
    assert hard_target_loss(logits, torch.from_numpy(TRUE), **options).item() == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 7.0])
def test_the_soft_term_is_the_temperature_squared_times_the_divergence(temperature: float) -> None:
    student, teacher = drawn(ROWS, LABELS, seed=3), drawn(ROWS, LABELS, seed=4)
    expected = temperature**2 * kullback_leibler(teacher.numpy() / temperature, student.numpy() / temperature)
    assert soft_target_loss(student, teacher, temperature=temperature).item() == pytest.approx(expected)


def test_the_soft_term_s_gradient_is_the_temperature_times_the_difference_of_probabilities() -> None:
    # d/ds of T² KL is T (q − p); Hinton et al. (2015), equation 2, without T².
    student, teacher = drawn(ROWS, LABELS, seed=3).requires_grad_(), drawn(ROWS, LABELS, seed=4)
    soft_target_loss(student, teacher, temperature=5.0).backward()
    assert student.grad is not None
    q, p = softmax(student.detach().numpy() / 5, axis=1), softmax(teacher.numpy() / 5, axis=1)
    np.testing.assert_allclose(student.grad.numpy(), 5 * (q - p) / ROWS, atol=1e-12)


def test_the_soft_gradient_hardly_shrinks_as_the_temperature_grows() -> None:
    # §2.1: at high temperature it tends to (s − t) / labels for zero-mean logits, whatever T is.
    student, teacher = drawn(ROWS, LABELS, seed=3), drawn(ROWS, LABELS, seed=4)
    student, teacher = (logits - logits.mean(dim=1, keepdim=True) for logits in (student, teacher))
    student.requires_grad_()
    soft_target_loss(student, teacher, temperature=1e4).backward()
    assert student.grad is not None
    expected = (student - teacher).detach() / LABELS / ROWS
    torch.testing.assert_close(student.grad, expected, rtol=0.01, atol=1e-5)


def inside(seed: int) -> list[LayerInside]:
    """Return what two layers of a made-up model computed, every tensor with a gradient."""
    return [
        LayerInside(
            **{
                part: drawn(ROWS, 2, 5, 4, seed=seed + place + index).requires_grad_()
                for index, part in enumerate(("queries", "keys", "values"))
            },
            states=drawn(ROWS, 5, 8, seed=seed + place + 3).requires_grad_(),
            window=None,
            scale=0.5,
        )
        for place in (0, 10)
    ]


def total(objective: Objective, terms: dict[str, Tensor]) -> Tensor:
    """Return what a step minimises where the weights of the terms do not adapt."""
    return balancer("fixed", list(objective.fixed)).weigh(terms, objective.fixed, observe=True).total


def test_no_gradient_reaches_the_teacher() -> None:
    student, teacher = drawn(ROWS, LABELS, seed=3).requires_grad_(), drawn(ROWS, LABELS, seed=4).requires_grad_()
    own, others = inside(50), inside(80)
    weights = DistillationSettings(hard=1, soft=1, cosine_logits=1, cosine_hidden=1, hidden=1, attention=1, relations=1)
    objective = Objective(weights=weights)
    pairs = LayerPairs(own, others, [layer.states for layer in own], torch.ones(ROWS, 5), torch.ones(2))
    terms = objective.terms(student, torch.from_numpy(TRUE), teacher_logits=teacher) | objective.pair_terms(pairs)
    total(objective, terms).backward()
    assert list(terms) == list(objective.fixed)
    assert teacher.grad is None
    assert student.grad is not None
    for name in ("queries", "keys", "values", "states"):
        assert all(getattr(layer, name).grad is None for layer in others)
        assert all(getattr(layer, name).grad.abs().sum() > 0 for layer in own)


def test_rows_without_a_label_count_in_what_the_teacher_says_alone() -> None:
    student, teacher, labels = drawn(ROWS, LABELS, seed=3), drawn(ROWS, LABELS, seed=4), torch.from_numpy(TRUE.copy())
    objective = Objective(
        weights=DistillationSettings(), class_weights=torch.arange(1.0, LABELS + 1, dtype=torch.float64)
    )
    labels[::2] = UNLABELLED
    terms = objective.terms(student, labels, teacher_logits=teacher)
    known = objective.terms(student[1::2], labels[1::2], teacher_logits=teacher[1::2])
    whole = objective.terms(student, torch.from_numpy(TRUE), teacher_logits=teacher)
    assert terms["hard"] == known["hard"]
    assert terms["soft"] == whole["soft"]
    labels[:] = UNLABELLED
    assert list(objective.terms(student, labels, teacher_logits=teacher)) == ["soft", "cosine_logits"]
    student.requires_grad_()
    nobody = Objective().terms(student, labels)["hard"]
    nobody.backward()
    assert nobody.item() == 0
    assert student.grad is not None
    assert student.grad.abs().sum() == 0


def test_two_passes_share_every_term_and_are_compared() -> None:
    first, second = drawn(ROWS, LABELS, seed=3), drawn(ROWS, LABELS, seed=4)
    labels = torch.from_numpy(TRUE)
    objective = Objective(r_drop=2.0)
    terms = objective.terms(torch.cat([first, second]), torch.cat([labels, labels]), passes=2)
    each = [hard_target_loss(logits, labels) for logits in (first, second)]
    torch.testing.assert_close(terms["hard"], sum(each) / 2)
    torch.testing.assert_close(terms["r_drop"], r_drop_loss(first, second))
    torch.testing.assert_close(total(objective, terms), terms["hard"] + 2 * terms["r_drop"])


def test_the_cosine_term_is_one_minus_the_cosine() -> None:
    student, teacher = drawn(ROWS, LABELS, seed=3), drawn(ROWS, LABELS, seed=4)
    s, t = student.numpy(), teacher.numpy()
    expected = (1 - (s * t).sum(1) / np.linalg.norm(s, axis=1) / np.linalg.norm(t, axis=1)).mean()
    assert cosine_logit_loss(student, teacher).item() == pytest.approx(expected)


def test_hidden_states_are_compared_token_by_token_and_padding_is_left_out() -> None:
    student, teacher = drawn(2, 3, 5, 4, seed=5), drawn(2, 3, 5, 4, seed=6)
    lengths = [5, 1, 3]
    mask = (torch.arange(5) < torch.tensor(lengths)[:, None]).long()
    cosines = [
        float(s @ t / np.linalg.norm(s) / np.linalg.norm(t))
        for layer in range(2)
        for row, length in enumerate(lengths)
        for s, t in zip(student[layer, row, :length].numpy(), teacher[layer, row, :length].numpy(), strict=True)
    ]
    loss = cosine_hidden_loss(student, teacher, mask)
    assert loss.item() == pytest.approx(1 - np.mean(cosines))
    teacher[:, mask == 0] = 1e6
    student[:, mask == 0] = -1e6
    assert cosine_hidden_loss(student, teacher, mask).item() == pytest.approx(loss.item())


def test_the_objective_is_the_weighted_sum_of_its_terms() -> None:
    student, teacher, labels = drawn(ROWS, LABELS, seed=3), drawn(ROWS, LABELS, seed=4), torch.from_numpy(TRUE)
    objective = Objective(weights=DistillationSettings(hard=0.25, soft=0, cosine_logits=3))
    terms = objective.terms(student, labels, teacher_logits=teacher)
    assert list(terms) == ["hard", "cosine_logits"]
    expected = 0.25 * hard_target_loss(student, labels) + 3 * cosine_logit_loss(student, teacher)
    torch.testing.assert_close(total(objective, terms), expected)


def test_shapes_that_differ_and_temperatures_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match=r"student has shape \(2, 3\), teacher \(2, 2\)"):
        soft_target_loss(torch.zeros(2, 3), torch.zeros(2, 2), temperature=1.0)
    with pytest.raises(ValueError, match="temperature is 0"):
        soft_target_loss(torch.zeros(2, 3), torch.zeros(2, 3), temperature=0.0)
    with pytest.raises(ValueError, match="must be the same"):
        cosine_logit_loss(torch.zeros(2, 3), torch.zeros(1, 3))
    with pytest.raises(ValueError, match="must be the same"):
        cosine_hidden_loss(torch.zeros(1, 2, 3, 4), torch.zeros(2, 2, 3, 4), torch.ones(2, 3))


some_logits = arrays(np.float64, (4, 3), elements=st.floats(-20, 20))
temperatures = st.floats(0.5, 10)


@given(some_logits, some_logits, temperatures)
def test_the_soft_term_is_never_negative_and_zero_only_for_equal_distributions(
    student: NDArray[np.float64], teacher: NDArray[np.float64], temperature: float
) -> None:
    loss = soft_target_loss(torch.from_numpy(student), torch.from_numpy(teacher), temperature=temperature).item()
    furthest = np.abs(softmax(student / temperature, axis=1) - softmax(teacher / temperature, axis=1)).sum(axis=1).max()
    # Pinsker: KL ≥ (Σ|p − q|)² / 2; here averaged over 4 rows.
    assert loss >= temperature**2 * furthest**2 / 2 / 4 - 1e-9
    own = soft_target_loss(torch.from_numpy(student), torch.from_numpy(student), temperature=temperature)
    assert own.item() == pytest.approx(0, abs=1e-9)


@given(some_logits, some_logits, temperatures, arrays(np.float64, (4, 1), elements=st.floats(-50, 50)))
def test_a_constant_added_to_all_logits_of_a_row_changes_nothing(
    student: NDArray[np.float64], teacher: NDArray[np.float64], temperature: float, shift: NDArray[np.float64]
) -> None:
    before = soft_target_loss(torch.from_numpy(student), torch.from_numpy(teacher), temperature=temperature)
    after = soft_target_loss(
        torch.from_numpy(student + shift), torch.from_numpy(teacher - shift), temperature=temperature
    )
    torch.testing.assert_close(after, before, rtol=1e-7, atol=1e-9)
