"""Whether the exact test of paired differences is that of scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, permutation_test

from distilora.evaluation.sign_flips import sign_flip_p


@pytest.mark.parametrize(("ahead", "behind"), [(0, 0), (1, 0), (5, 0), (7, 3), (6, 6), (300, 240), (900, 700)])
def test_of_one_seed_it_is_the_exact_test_of_mcnemar(ahead: int, behind: int) -> None:
    steps = np.repeat([1, -1, 0], [ahead, behind, 50])
    expected = binomtest(ahead, ahead + behind).pvalue if ahead + behind else 1.0
    assert sign_flip_p(steps) == pytest.approx(expected, abs=1e-9)
    assert sign_flip_p(-steps) == sign_flip_p(steps)


@pytest.mark.parametrize("seed", range(8))
def test_of_several_seeds_it_is_that_of_every_flip_of_the_signs(seed: int) -> None:
    steps = np.random.default_rng(seed).integers(-3, 4, size=11)
    every = permutation_test((steps,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(steps) == pytest.approx(every.pvalue, abs=1e-9)


def test_equally_good_methods_are_told_apart_in_no_more_than_one_sample_of_twenty() -> None:
    draw = np.random.default_rng(0)
    found = [sign_flip_p(draw.choice([-2, -1, 0, 1, 2], p=[0.1, 0.1, 0.6, 0.1, 0.1], size=12)) for _ in range(2000)]
    assert np.mean(np.array(found) < 0.05) < 0.055
