"""The search for the layers of a student: cheap scores of sets of layers, and a beam over them.

A set is judged without any training, by what the teacher says with these layers alone. One layer after another goes:
from all layers on, every kept set loses each of its layers in turn, and the best of the sets that arise are kept. The
score of a set S is

    score(S) = exp(−D(S) · (1 + R(S)))

with D(S) = KL(teacher ‖ teacher with S), the mean over rows in nats: what leaving out costs, smoother than accuracy;
and R(S), the mean linear CKA of each two of its layers, from 0 to 1: of two sets that cost the same, the one whose
layers repeat each other less has more to learn with. A layer whose vectors are the same for all rows repeats all.

Sources: a teacher without some layers, judged by what is lost: Sajjad et al. (2023), https://arxiv.org/abs/2004.03844;
layers that change little are redundant: Men et al. (2024), https://arxiv.org/abs/2403.03853; linear CKA: Kornblith et
al. (2019), https://arxiv.org/abs/1905.00414. Score and beam are our own, and no promise: students are trained again
after the cut, so that only their scores tell which layers were right.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from torch import nn
from torch.nn.functional import kl_div, log_softmax
from transformers import PreTrainedModel

from distilora.data.samples import stratified_sample
from distilora.data.tokens import EncodedTexts, chosen_texts
from distilora.errors import ConfigError
from distilora.models.layers import layer_numbers, layer_stack
from distilora.models.search_records import LayerLoss, LayerSearch, LayerSet
from distilora.models.similarity import Similarities, cka_matrix
from distilora.models.states import layer_vectors
from distilora.models.subsets import Numbers, logits_of_sets

_MOST_SHOWN = 20
_FEWEST_ROWS = 4
"""That CKA needs."""


def search_layers(  # noqa: PLR0913
    teacher: PreTrainedModel,
    texts: EncodedTexts,
    labels: NDArray[np.int64],
    *,
    count: int | None = None,
    beam: int = 4,
    rows: int = 1000,
    seed: int = 0,
    bf16: bool = False,
) -> LayerSearch:
    """Return which layers of a teacher say, with each other alone, most of what the whole teacher says.

    The same call gives the same answer, but for its seconds; of equal sets the one with lower numbers comes first.

    Args:
        teacher: a trained classifier of a known family, no adapters on it; as before in the end.
        texts: validation rows.
        labels: index of each row's class, shape (rows,).
        count: layers to choose; absent: as many as the preset ``odd`` has, half of them rounded up.
        beam: sets that are kept at each step.
        rows: rows to ask, at most; a stratified sample.
        seed: of the sample.
        bf16: compute matrix products in bfloat16.

    Raises:
        ConfigError: ``count`` is not from 1 to the teacher's depth, ``beam`` is below 1, or there are under 4 rows.
        ModelError: the teacher's family is none that distilora knows.
    """
    start = time.perf_counter()
    depth = len(layer_stack(teacher))
    odd, even = layer_numbers("odd", depth), layer_numbers("even", depth) if depth > 1 else None
    count = len(odd) if count is None else count
    _check(count, depth=depth, beam=beam, rows=min(rows, len(labels)))
    size = min(len(labels), max(rows, len(np.unique(labels))))
    positions = stratified_sample(labels, size, np.random.default_rng(seed))
    sets = _LayerSets(teacher, chosen_texts(texts, positions), labels[positions], bf16=bf16)
    _walk(sets, count=count, beam=beam)
    sets.look_at([odd, *([even] if even else [])])
    best = _ranked(one for one in sets.known.values() if len(one.numbers) == count)
    return LayerSearch(
        chosen=best[0],
        odd=sets.known[odd],
        even=sets.known[even] if even else None,
        best=tuple(best[:_MOST_SHOWN]),
        looked_at=len(sets.known),
        left_out=tuple(_losses(sets)),
        cka=sets.cka,
        rows=len(positions),
        beam=beam,
        seed=seed,
        seconds=time.perf_counter() - start,
    )


def _check(count: int, *, depth: int, beam: int, rows: int) -> None:
    if not 1 <= count <= depth:
        raise ConfigError(f'layers = "search": {count} layers asked of an encoder of {depth}; ask for 1 to {depth}')
    if beam < 1:
        raise ConfigError(f'layers = "search": a beam of {beam} sets; keep at least 1')
    if rows < _FEWEST_ROWS:
        raise ConfigError(f'layers = "search": {rows} validation rows to search on; give at least {_FEWEST_ROWS}')


def _walk(sets: _LayerSets, *, count: int, beam: int) -> None:
    """Look at every layer left out alone, then drop one layer at a time of the best sets until ``count`` are left."""
    whole = tuple(range(1, sets.depth + 1))
    sets.look_at([whole, *_without_one(whole)])
    kept = [whole]
    for _ in range(sets.depth - count):
        following = sorted({smaller for numbers in kept for smaller in _without_one(numbers)})
        sets.look_at(following)
        kept = [one.numbers for one in _ranked(sets.known[numbers] for numbers in following)[:beam]]


def _without_one(numbers: Numbers) -> Iterator[Numbers]:
    if len(numbers) > 1:
        yield from combinations(numbers, len(numbers) - 1)


def _ranked(sets: Iterable[LayerSet]) -> list[LayerSet]:
    return sorted(sets, key=lambda one: (-one.score, one.numbers))


def _losses(sets: _LayerSets) -> Iterator[LayerLoss]:
    """Yield what is lost without each layer."""
    whole = tuple(range(1, sets.depth + 1))
    for without in sorted(_without_one(whole), reverse=True):  # from the one without layer 1 on
        (number,) = set(whole) - set(without)
        yield LayerLoss(
            number=number,
            macro_f1_lost=sets.known[whole].macro_f1 - sets.known[without].macro_f1,
            accuracy_lost=sets.known[whole].accuracy - sets.known[without].accuracy,
        )


class _LayerSets:
    """The sets of layers that a teacher was run with, each once."""

    def __init__(self, teacher: PreTrainedModel, texts: EncodedTexts, labels: NDArray[np.int64], *, bf16: bool) -> None:
        self.depth = len(layer_stack(teacher))
        self.known: dict[Numbers, LayerSet] = {}
        self._teacher, self._texts, self._labels, self._bf16 = teacher, texts, labels, bf16
        self._whole: NDArray[np.float32] | None = None
        with _precision(teacher, bf16=bf16):
            self.cka: Similarities = cka_matrix(layer_vectors(teacher, texts)["mean"])

    def look_at(self, sets: Sequence[Numbers]) -> None:
        """Score those of the sets that are not known yet; the first of all must be the whole teacher."""
        new = [numbers for numbers in sets if numbers not in self.known]
        with _precision(self._teacher, bf16=self._bf16):
            logits = logits_of_sets(self._teacher, self._texts, new)
        for numbers in new:
            if self._whole is None:
                self._whole = logits[numbers]
            self.known[numbers] = self._scored(numbers, logits[numbers], self._whole)

    def _scored(self, numbers: Numbers, logits: NDArray[np.float32], whole: NDArray[np.float32]) -> LayerSet:
        divergence, redundancy = _divergence(whole, logits), _redundancy(numbers, self.cka)
        predictions = logits.argmax(axis=1)
        classes = range(logits.shape[1])
        return LayerSet(
            numbers=numbers,
            score=math.exp(-divergence * (1 + redundancy)),
            divergence=divergence,
            redundancy=redundancy,
            macro_f1=float(f1_score(self._labels, predictions, labels=classes, average="macro", zero_division=0)),
            accuracy=float((predictions == self._labels).mean()),
        )


def _divergence(whole: NDArray[np.float32], logits: NDArray[np.float32]) -> float:
    """Return KL(whole ‖ other), the mean over rows in nats; rounding never takes it below 0."""
    said, meant = (log_softmax(torch.from_numpy(one).double(), dim=1) for one in (logits, whole))
    return max(0.0, float(kl_div(said, meant, reduction="batchmean", log_target=True)))


def _redundancy(numbers: Numbers, cka: Similarities) -> float:
    """Return the mean CKA of each two of the layers, each from 0 to 1; an unknown one counts as 1."""
    alike = [cka[first][second] for first, second in combinations(numbers, 2)]
    return float(np.mean([1.0 if one is None else min(1.0, max(0.0, one)) for one in alike])) if alike else 0.0


def _precision(model: nn.Module, *, bf16: bool) -> torch.autocast:
    return torch.autocast(next(model.parameters()).device.type, dtype=torch.bfloat16, enabled=bf16)
