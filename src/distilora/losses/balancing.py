"""How much each loss term weighs: as the settings say, or adapting to what the terms do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

_SMALLEST_MEAN = 1e-8
"""A running mean below this counts as this, so that a term that has become 0 is not divided by 0."""


class Balanced(NamedTuple):
    """The loss of a step, and what each term counted in it."""

    total: Tensor
    """What is minimised, shape ()."""
    weights: dict[str, Tensor]
    """By term: what it was multiplied by, the settings' weight included; without gradient, shape ()."""


class Balancer(nn.Module):
    """Weighs the terms of each step; this one leaves the weights as the settings have them.

    Its state dict is all that a checkpoint must keep: restored, it goes on bit for bit. Its parameters, if it has any,
    belong to the optimiser, without weight decay.

    Args:
        terms: names of all terms that a step may have, in a fixed order.
    """

    def __init__(self, terms: Sequence[str]) -> None:
        super().__init__()
        if not terms or len(set(terms)) != len(terms):
            raise ValueError(f"terms are {', '.join(terms) or 'none'}: give at least one, each once")
        self.terms = tuple(terms)

    def weigh(self, terms: Mapping[str, Tensor], fixed: Mapping[str, float], *, observe: bool) -> Balanced:
        """Return the weighted sum of a step's terms and the weight of each.

        Args:
            terms: unweighted, by name, each of shape (); one that is absent keeps its state.
            fixed: the settings' weight of each of them.
            observe: whether the step belongs to training and so counts in the state.

        Raises:
            ValueError: there is no term, or one that the balancer was not made for.
        """
        places = self._places(terms)
        losses = torch.stack([_at_least_float32(term) for term in terms.values()])  # (terms,)
        if observe:
            self._observe(places, losses.detach())
        settings = losses.new_tensor([fixed[name] for name in terms])
        weights = settings * self._factors(places).to(losses)
        total = (weights * losses).sum() + self._penalty(places, settings)
        return Balanced(total, dict(zip(terms, weights.detach(), strict=True)))

    def end_epoch(self) -> None:
        """Take note that an epoch of training is over."""

    def _places(self, terms: Mapping[str, Tensor]) -> list[int]:
        strange = [name for name in terms if name not in self.terms]
        if strange or not terms:
            raise ValueError(f"terms are {', '.join(terms) or 'none'}: give some of {', '.join(self.terms)}")
        return [self.terms.index(name) for name in terms]

    def _observe(self, places: list[int], losses: Tensor) -> None:
        """Count a step of training, its losses given without gradient."""

    def _factors(self, places: list[int]) -> Tensor:
        """Return what multiplies the settings' weights, shape (places,)."""
        return torch.ones(len(places))

    def _penalty(self, places: list[int], settings: Tensor) -> Tensor:  # noqa: ARG002
        """Return what is added to the weighted sum, shape ()."""
        return settings.new_zeros(())


class Fixed(Balancer):
    """Leaves the weights as the settings have them: the total is the plain weighted sum.

    Example:
        >>> terms = {"hard": torch.tensor(1.0), "soft": torch.tensor(3.0)}
        >>> Fixed(["hard", "soft"]).weigh(terms, {"hard": 0.2, "soft": 0.8}, observe=True).total
        tensor(2.6000)
    """


class RunningMean(nn.Module):
    """Exponentially weighted means of several numbers: m ← β m + (1 − β) x from m = 0 on, read as m / (1 − βⁿ).

    The division takes out the pull of the start at 0 (n: how many values were seen), so that the first value is the
    first mean. Kept is the quotient itself, by the same recursion: q ← q + (x − q) (1 − β) / (1 − βⁿ).

    Args:
        size: how many numbers.
        momentum: β, from 0 (the last value alone) to below 1; about 1 / (1 − β) values count.

    Source:
        The correction: Kingma & Ba (2015), §3, https://arxiv.org/abs/1412.6980.

    Example:
        >>> mean = RunningMean(1, momentum=0.5)
        >>> for value in (1.0, 4.0):
        ...     mean.update([0], torch.tensor([value]))
        >>> mean.read()  # (1 · 0.25 + 4 · 0.5) / 0.75
        tensor([3.])
    """

    mean: Tensor
    seen: Tensor

    def __init__(self, size: int, *, momentum: float) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum is {momentum}, must be from 0 to below 1")
        self.momentum = momentum
        self._log_momentum = math.log(momentum) if momentum else -math.inf
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("seen", torch.zeros(size))

    def update(self, places: Sequence[int], values: Tensor) -> None:
        """Count a new value at each of ``places``; values have shape (places,)."""
        where = list(places)
        self.seen[where] += 1
        # −expm1(n ln β) is 1 − βⁿ without its rounding where β is nearly 1.
        share = (1 - self.momentum) / -torch.expm1(self.seen[where] * self._log_momentum)
        self.mean[where] = self.mean[where].lerp(values.detach().to(self.mean), share)

    def read(self) -> Tensor:
        """Return the corrected means, shape (size,); NaN where no value was seen yet."""
        return torch.where(self.seen > 0, self.mean, torch.nan)


class MovingAverage(Balancer):
    """Divides each term by its running mean, so that none drowns the rest: wₖ = settingₖ / meanₖ.

    The step itself counts in the mean, so the first total is the sum of the settings' weights. From there it stays
    near that sum however far the terms fall: judge progress by the terms, not by the total.

    Args:
        terms: names of all terms.
        momentum: of the :class:`RunningMean`; 0.99 averages over about 100 steps.

    Example:
        >>> terms = {"hard": torch.tensor(0.5), "soft": torch.tensor(20.0)}
        >>> found = MovingAverage(["hard", "soft"]).weigh(terms, {"hard": 0.2, "soft": 0.8}, observe=True)
        >>> found.weights
        {'hard': tensor(0.4000), 'soft': tensor(0.0400)}
    """

    def __init__(self, terms: Sequence[str], *, momentum: float = 0.99) -> None:
        super().__init__(terms)
        self.means = RunningMean(len(self.terms), momentum=momentum)

    def _observe(self, places: list[int], losses: Tensor) -> None:
        self.means.update(places, losses)

    def _factors(self, places: list[int]) -> Tensor:
        means: Tensor = self.means.read()[places]
        return means.nan_to_num(1.0).clamp(min=_SMALLEST_MEAN).reciprocal()  # nothing seen yet: the settings' weight


class Uncertainty(Balancer):
    """Learns how noisy each term is and weighs it down by that: Σ settingₖ · (exp(−sₖ) Lₖ + sₖ / 2).

    sₖ is the log variance ln σₖ², learned from 0 on. This is the paper's form for classification, L / σ² + ln σ; the
    one for regression has half the first part. For losses that stand still sₖ tends to ln 2 Lₖ, where a term weighs
    settingₖ / (2 Lₖ): the settings' weights keep their meaning. The total may be negative.

    Source:
        Kendall, Gal & Cipolla (2018), §3.2, eq. 10, https://arxiv.org/abs/1705.07115.

    Example:
        >>> terms = {"hard": torch.tensor(0.5), "soft": torch.tensor(20.0)}
        >>> Uncertainty(["hard", "soft"]).weigh(terms, {"hard": 1.0, "soft": 1.0}, observe=True).total.item()
        20.5
    """

    def __init__(self, terms: Sequence[str]) -> None:
        super().__init__(terms)
        self.log_variances = nn.Parameter(torch.zeros(len(self.terms)))

    def _factors(self, places: list[int]) -> Tensor:
        return torch.exp(-self.log_variances[places])

    def _penalty(self, places: list[int], settings: Tensor) -> Tensor:
        return (settings * self.log_variances[places].to(settings)).sum() / 2


class DynamicWeightAverage(Balancer):
    """Weighs up the terms that fell least between the last two epochs: λₖ = K softmaxₖ(rₖ / T), wₖ = settingₖ λₖ.

    rₖ is the mean of term k over the steps of the last epoch, divided by its mean over those of the epoch before. In
    the first two epochs every λₖ is 1. A term that one of the two epochs lacks, or whose earlier mean is 0, has rₖ = 1.

    Args:
        terms: names of all terms, K of them.
        temperature: T, above 0, no unit; higher makes the weights more alike.

    Source:
        Liu, Johns & Davison (2019), Dynamic Weight Average, https://arxiv.org/abs/1803.10704; T = 2 is theirs.

    Example:
        >>> balancer = DynamicWeightAverage(["hard", "soft"])
        >>> for loss in (1.0, 0.5):
        ...     terms = {"hard": torch.tensor(1.0), "soft": torch.tensor(loss)}
        ...     found = balancer.weigh(terms, {"hard": 1.0, "soft": 1.0}, observe=True)
        ...     balancer.end_epoch()
        >>> balancer.weigh(terms, {"hard": 1.0, "soft": 1.0}, observe=False).weights
        {'hard': tensor(1.1244), 'soft': tensor(0.8756)}
    """

    means: Tensor
    steps: Tensor
    history: Tensor

    def __init__(self, terms: Sequence[str], *, temperature: float = 2.0) -> None:
        super().__init__(terms)
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}, must be above 0")
        self.temperature = temperature
        size = len(self.terms)
        self.register_buffer("means", torch.zeros(size))
        self.register_buffer("steps", torch.zeros(size))
        # Means of the epoch before the last and of the last, shape (2, terms); NaN where there is none.
        self.register_buffer("history", torch.full((2, size), torch.nan))

    def end_epoch(self) -> None:
        """Make the means of this epoch those of the last, and begin to count anew."""
        self.history.copy_(torch.stack([self.history[1], torch.where(self.steps > 0, self.means, torch.nan)]))
        self.steps.zero_()

    def _observe(self, places: list[int], losses: Tensor) -> None:
        self.steps[places] += 1
        self.means[places] = self.means[places].lerp(losses.to(self.means), 1 / self.steps[places])

    def _factors(self, places: list[int]) -> Tensor:
        before, last = self.history
        ratios = torch.where(before > 0, last / before, 1.0).nan_to_num(1.0)
        weights: Tensor = len(self.terms) * torch.softmax(ratios / self.temperature, dim=0)
        return weights[places]


def _at_least_float32(term: Tensor) -> Tensor:
    return term.to(torch.promote_types(term.dtype, torch.float32))


_BALANCERS: Mapping[str, type[Balancer]] = {
    "fixed": Fixed,
    "moving-average": MovingAverage,
    "uncertainty": Uncertainty,
    "dwa": DynamicWeightAverage,
}


def balancer(name: str, terms: Sequence[str]) -> Balancer:
    """Return the balancer of this name for these terms.

    Args:
        name: ``fixed``, ``moving-average``, ``uncertainty`` or ``dwa``.
        terms: names of all terms that a step may have, in a fixed order.

    Raises:
        ValueError: the name is none of these, or there is no term.

    Example:
        >>> [type(balancer(name, ["hard"])).__name__ for name in ("fixed", "dwa")]
        ['Fixed', 'DynamicWeightAverage']
    """
    if name not in _BALANCERS:
        raise ValueError(f'balance = "{name}": use {", ".join(_BALANCERS)}')
    return _BALANCERS[name](terms)
