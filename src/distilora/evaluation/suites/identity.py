"""Unintended bias: whether comments that mention an identity get scores too high or too low.

Three AUCs for each group, against the *background* of all rows that do not belong to it.

Source: Borkan et al. (2019), Nuanced Metrics for Measuring Unintended Bias with Real Data for Text Classification,
https://arxiv.org/abs/1903.04561; their generalised mean and the final score: the rules of the Jigsaw Unintended Bias
in Toxicity Classification competition (2019).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from distilora.evaluation.intervals import RESAMPLES
from distilora.evaluation.ranking import resampled_aucs, roc_auc
from distilora.evaluation.records import Interval
from distilora.evaluation.resampling import TAIL, symmetric_interval
from distilora.evaluation.significance import bootstrap_p
from distilora.evaluation.suites.proportions import with_holm
from distilora.evaluation.suites.records import Auc, Change, Family, IdentityGroup, IdentityScores, Measure

Mask = NDArray[np.bool_]
MEAN_POWER = -5.0
"""Of the generalised mean: so low that the worst groups decide it."""
_RESAMPLES_A_CONTRAST = 50
LEAST_ROWS = 10
"""Positive, and negative, rows that an AUC is given from."""
_SHARE_OF_EACH = 0.25


class IdentityOutcome(NamedTuple):
    """One model's scores, and its changes against the first model; of the first itself there are none."""

    scores: IdentityScores
    changes: tuple[Change, ...]


class _Contrast(NamedTuple):
    """The positive and the negative rows that an AUC sets against each other."""

    family: Family
    name: str
    measure: Measure
    above: Mask
    under: Mask


class _Cell(NamedTuple):
    """One AUC of every model."""

    name: str
    measure: Measure
    aucs: tuple[Auc, ...]
    """One a model."""
    changes: tuple[Change, ...]
    """One for each model after the first."""


def identity_outcomes(  # noqa: PLR0913 - what was said, what is true, who is meant, and how the intervals are made
    scores: NDArray[np.floating],
    *,
    positive: Mask,
    groups: Mapping[str, Mask],
    least: int = LEAST_ROWS,
    seed: int = 0,
    resamples: int | None = None,
) -> tuple[IdentityOutcome, ...]:
    """Return the AUCs of each model for each group, and how each later model differs from the first.

    Args:
        scores: each model's probability that a row is positive, shape (models, rows), at least one model and row.
        positive: whether each row is, shape (rows,).
        groups: which rows mention each group, by name, each of shape (rows,); a row may be in several or in none.
        least: positive, and negative, rows that an AUC is given from, at least 1; with fewer it is missing.
        seed: of the resampling; the same rows are drawn for all models.
        resamples: how often rows are drawn; absent: 2,000 times, or so often that the smallest p, corrected for all
            AUCs, is 0.02.

    Raises:
        ValueError: shapes do not fit together, there is nothing to score, or ``least`` is below 1.

    Example:
        >>> positive = np.array([True, True, False, False] * 5)
        >>> scores = np.where(positive, 0.9, 0.2)[None]
        >>> group = np.arange(20) < 8
        >>> (outcome,) = identity_outcomes(scores, positive=positive, groups={"women": group}, least=4)
        >>> outcome.scores.groups[0].bpsn_auc.value, outcome.scores.final
        (1.0, 1.0)
    """
    _require_fitting(scores, positive, groups, least=least)
    contrasts = _contrasts(positive, groups)
    resamples = resamples or max(RESAMPLES, _RESAMPLES_A_CONTRAST * len(contrasts))
    cells = [
        cell for contrast in contrasts if (cell := _cell(scores, contrast, least=least, seed=seed, resamples=resamples))
    ]
    return tuple(
        IdentityOutcome(
            scores=_model_scores(model, cells, positive=positive, groups=groups),
            changes=with_holm([cell.changes[model - 1] for cell in cells]) if model else (),
        )
        for model in range(len(scores))
    )


def generalised_mean(values: Sequence[float], *, power: float = MEAN_POWER) -> float:
    """Return (mean of values^p)^(1/p); the lower p, the nearer to the smallest value.

    Args:
        values: 0 or above, at least one.
        power: p, below 0.

    Example:
        >>> round(generalised_mean([0.9, 0.9, 0.5]), 4)
        0.6105
    """
    if min(values) == 0:  # the limit
        return 0.0
    return float(np.mean(np.asarray(values, dtype=np.float64) ** power) ** (1 / power))


def _require_fitting(scores: NDArray[np.floating], positive: Mask, groups: Mapping[str, Mask], *, least: int) -> None:
    shapes = {positive.shape, *(mask.shape for mask in groups.values())}
    if scores.ndim != 2 or not scores.size or shapes != {scores.shape[1:]}:
        raise ValueError(f"scores {scores.shape}, rows {sorted(shapes)}: need (models, rows) and (rows,)")
    if least < 1:
        raise ValueError(f"least: {least} is not allowed; give 1 or more")


def _contrasts(positive: Mask, groups: Mapping[str, Mask]) -> list[_Contrast]:
    """Return what is set against what, first over all rows, then for each group."""
    found = [_Contrast("all", "all rows", "overall_auc", positive, ~positive)]
    for name, group in groups.items():
        found += [
            _Contrast("identity", name, "subgroup_auc", group & positive, group & ~positive),
            _Contrast("identity", name, "bpsn_auc", ~group & positive, group & ~positive),
            _Contrast("identity", name, "bnsp_auc", group & positive, ~group & ~positive),
        ]
    return found


def _cell(scores: NDArray[np.floating], contrast: _Contrast, *, least: int, seed: int, resamples: int) -> _Cell | None:
    """Return one AUC of all models, or nothing where it has too few rows."""
    if min(contrast.above.sum(), contrast.under.sum()) < least:
        return None
    positive, negative = scores[:, contrast.above], scores[:, contrast.under]  # (models, positives or negatives)
    values = [roc_auc(*rows) for rows in zip(positive, negative, strict=True)]
    drawn = resampled_aucs(positive, negative, seed=seed, resamples=resamples)  # (models, resamples)
    sizes = {"positives": positive.shape[1], "negatives": negative.shape[1]}
    return _Cell(
        contrast.name,
        contrast.measure,
        aucs=tuple(
            Auc(value=value, interval=_percentiles(row), **sizes) for value, row in zip(values, drawn, strict=True)
        ),
        changes=tuple(
            _change(contrast, value - values[0], row - drawn[0], rows=sum(sizes.values()))
            for value, row in zip(values[1:], drawn[1:], strict=True)
        ),
    )


def _change(contrast: _Contrast, value: float, drawn: NDArray[np.float64], *, rows: int) -> Change:
    return Change(
        family=contrast.family,
        name=contrast.name,
        measure=contrast.measure,
        rows=rows,
        value=value,
        interval=symmetric_interval(value, drawn),
        p=bootstrap_p(value, drawn),
    )


def _percentiles(drawn: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(drawn, [TAIL, 1 - TAIL])
    return Interval(low=float(low), high=float(high))


def _model_scores(model: int, cells: Sequence[_Cell], *, positive: Mask, groups: Mapping[str, Mask]) -> IdentityScores:
    found = {(cell.name, cell.measure): cell.aucs[model] for cell in cells}
    overall = next((cell.aucs[model] for cell in cells if cell.measure == "overall_auc"), None)
    rows = [
        IdentityGroup(
            name=name,
            rows=int(mask.sum()),
            positives=int((mask & positive).sum()),
            subgroup_auc=found.get((name, "subgroup_auc")),
            bpsn_auc=found.get((name, "bpsn_auc")),
            bnsp_auc=found.get((name, "bnsp_auc")),
        )
        for name, mask in groups.items()
    ]
    means = [_mean_of([getattr(row, measure) for row in rows]) for measure in ("subgroup_auc", "bpsn_auc", "bnsp_auc")]
    return IdentityScores(
        rows=len(positive),
        positives=int(positive.sum()),
        overall=overall,
        groups=tuple(sorted(rows, key=_badness)),
        subgroup_mean=means[0],
        bpsn_mean=means[1],
        bnsp_mean=means[2],
        final=_final(overall, means),
    )


def _mean_of(aucs: Sequence[Auc | None]) -> float | None:
    values = [auc.value for auc in aucs if auc is not None]
    return generalised_mean(values) if values else None


def _final(overall: Auc | None, means: Sequence[float | None]) -> float | None:
    known = [value for value in (overall.value if overall else None, *means) if value is not None]
    return _SHARE_OF_EACH * sum(known) if len(known) == 1 + len(means) else None


def _badness(group: IdentityGroup) -> tuple[float, str]:
    known = [auc.value for auc in (group.subgroup_auc, group.bpsn_auc, group.bnsp_auc) if auc is not None]
    return (min(known) if known else 2.0, group.name)
