"""What may have been measured of finished runs, built in code for the tests of reports."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from distilora.analysis.records import (
    AnalysisSettings,
    LayerAnalysis,
    LayerKnowledge,
    LeftOut,
    ModelSimilarity,
    ProbeScores,
)
from distilora.evaluation.assessments import AssessedModel, Assessment
from distilora.evaluation.costs import LENGTHS, ExperimentCosts, LatencyAt, MethodCosts
from distilora.evaluation.labelled_texts import LabelledTexts
from distilora.evaluation.records import Interval
from distilora.evaluation.robustness.answers import NoisyAnswers
from distilora.evaluation.robustness.noise import NOISES
from distilora.evaluation.suites.hatecheck import HateCheckCases, hatecheck_changes, hatecheck_scores
from distilora.evaluation.suites.identity import identity_outcomes
from distilora.models.search_records import LayerLoss, LayerSearch, LayerSet
from distilora.models.similarity import POOLINGS
from distilora.runs import RunRecord

ROWS = 240
CASES = 180


def hash_of(record: RunRecord) -> str:
    """Return what stands for the hash of a run."""
    return f"{record.result.method}-{record.result.seed}".encode().hex().ljust(64, "0")


def rows_of(record: RunRecord) -> LabelledTexts:
    """Return made-up texts with the labels of a run's test rows."""
    labels = record.test_labels
    texts = [f"comment {index}, {'so it goes ' * (index % 7)}" for index in range(len(labels))]
    return LabelledTexts(texts, labels, record.result.data.label_names, 3 * np.arange(len(labels)) + 1)


def costs_of(records: Sequence[RunRecord]) -> ExperimentCosts:
    """Return costs of one model for each method: the teacher's twice those of a student."""
    return ExperimentCosts(
        methods=tuple(_costs_of(one) for one in records),
        texts=ROWS,
        rounds=3,
        threads=2,
        processor="a processor",
        cores=2,
        busy_processors=0.1,
        versions={"distilora": "0.1.0", "onnxruntime": "1.31.0"},
    )


def _costs_of(record: RunRecord) -> MethodCosts:
    slow = 1.0 if record.result.kind == "student" else 2.0
    return MethodCosts(
        method=record.result.method,
        seed=record.result.seed,
        model="bundle",
        precision="int8",
        sha256=hash_of(record),
        size_bytes=int(12_500_000 * (1 + slow)),
        latency=tuple(
            LatencyAt(tokens=tokens, times=60, p50_ms=slow * tokens / 16, p95_ms=1.2 * slow * tokens / 16)
            for tokens in LENGTHS
        ),
        texts_per_s=800 / slow,
        texts_per_s_low=790 / slow,
        texts_per_s_high=805 / slow,
        memory_peak_mib=150 + 20 * slow,
        load_seconds=0.5 + 0.1 * slow,
    )


def noise_of(record: RunRecord, *, every: int = 2, seed: int = 0) -> NoisyAnswers:
    """Return what a run says of every second test row with noise, each kind a little worse than the one before."""
    positions = np.arange(0, len(record.test_labels), every)
    clean = np.asarray(record.test_logits, dtype=np.float32)[positions]
    draw = np.random.default_rng([len(record.result.method), record.result.seed])
    noisy = {
        kind: (clean + 0.4 * strength * draw.normal(size=clean.shape)).astype(np.float32)
        for strength, kind in enumerate(NOISES)
    }
    return NoisyAnswers(run_sha256=hash_of(record), seed=seed, positions=positions, clean=clean, noisy=noisy)


def layers_of(record: RunRecord, *, compared: Sequence[RunRecord] = ()) -> LayerAnalysis:
    """Return what could be known of a teacher of six layers and of the other models with its seed."""
    numbers = np.arange(7)
    alike = tuple(tuple(1 - 0.1 * abs(int(row - column)) for column in numbers) for row in numbers)
    others = [one for one in compared if one.result.seed == record.result.seed and one.result.kind != "teacher"]
    return LayerAnalysis(
        method=record.result.method,
        seed=record.result.seed,
        run_sha256=hash_of(record),
        settings=AnalysisSettings(),
        validation_rows=ROWS,
        train_rows=4 * ROWS,
        pooling="first",
        accuracy=0.85,
        macro_f1=0.84,
        odd=(1, 3, 5),
        even=(2, 4, 6),
        layers=tuple(_layer(int(number), 0.013 * record.result.seed) for number in numbers),
        cka=dict.fromkeys(POOLINGS, alike),
        compared=tuple(
            ModelSimilarity(
                method=one.result.method,
                seed=one.result.seed,
                run_sha256=hash_of(one),
                layers=one.result.layers,
                cka=dict.fromkeys(POOLINGS, alike if one.result.layers is None else alike[:4]),
            )
            for one in others
        ),
    )


def _layer(number: int, shift: float) -> LayerKnowledge:
    score, lost = 0.5 + 0.05 * number + shift, 0.02 * number + shift
    probe = ProbeScores(
        accuracy=score,
        accuracy_interval=Interval(low=score - 0.03, high=score + 0.03),
        macro_f1=score - 0.01,
        macro_f1_interval=Interval(low=score - 0.05, high=score + 0.03),
    )
    left_out = LeftOut(
        accuracy=0.85 - lost,
        accuracy_lost=lost,
        macro_f1=0.84 - lost,
        macro_f1_lost=lost,
        macro_f1_lost_interval=Interval(low=lost - 0.03, high=lost + 0.03),
    )
    return LayerKnowledge(number=number, probes=dict.fromkeys(POOLINGS, probe), left_out=left_out if number else None)


def search_of(record: RunRecord, *, seconds: float = 83.0) -> LayerSearch:
    """Return a search among six layers that chose those of the run; later seeds' scores are a little lower."""
    chosen, shift = tuple(record.result.layers or (1, 4, 6)), 0.01 * record.result.seed
    others = [numbers for numbers in ((1, 2, 6), (1, 4, 5), (2, 4, 6), (1, 3, 6), (3, 4, 6)) if numbers != chosen]
    best = tuple(layer_set(numbers, 0.11 + 0.04 * place + shift) for place, numbers in enumerate((chosen, *others)))
    return LayerSearch(
        chosen=best[0],
        odd=layer_set((1, 3, 5), 0.62 + shift),
        even=next(one for one in best if one.numbers == (2, 4, 6)),
        best=best,
        looked_at=34,
        left_out=tuple(LayerLoss(number=n, macro_f1_lost=0.021 * n, accuracy_lost=0.013 * n) for n in range(1, 7)),
        cka=tuple(tuple(1 - 0.1 * abs(row - column) for column in range(7)) for row in range(7)),
        rows=ROWS,
        beam=4,
        seed=0,
        seconds=seconds + record.result.seed,
    )


def layer_set(numbers: tuple[int, ...], divergence: float) -> LayerSet:
    """Return a set of layers whose answers lie so far from the whole teacher's, in nats."""
    redundancy = 0.3 + 0.02 * numbers[-1]
    return LayerSet(
        numbers=numbers,
        score=math.exp(-divergence * (1 + redundancy)),
        divergence=divergence,
        redundancy=redundancy,
        macro_f1=0.8 - divergence,
        accuracy=0.9 - divergence,
    )


def suites_of(records: Sequence[RunRecord]) -> tuple[Assessment, ...]:
    """Return HateCheck and identity groups, answered by one model for each method, the teacher's first."""
    ordered = sorted(records, key=lambda one: (one.result.kind != "teacher", one.result.method))
    draw = np.random.default_rng(0)
    tests, groups = [f"test_{index % 6}" for index in range(CASES)], ("women", "men", "neighbours")
    hateful = draw.random(CASES) < 0.6
    cases = HateCheckCases(hateful, tests, [(*groups, None)[index % 4] for index in range(CASES)])
    scores = 0.35 * hateful + 0.65 * draw.random((len(ordered), CASES))
    said = scores > 0.4
    members = {name: np.array([target == name for target in cases.targets]) for name in groups}
    outcomes = identity_outcomes(scores, positive=hateful, groups=members, resamples=200)
    models = zip(ordered, said, outcomes, strict=True)
    hard, fair = [], []
    for index, (one, answers, outcome) in enumerate(models):
        changes = hatecheck_changes(said[0], answers, cases) if index else ()
        hard.append(_assessed(one, hatecheck=hatecheck_scores(answers, cases), changes=changes))
        fair.append(_assessed(one, identity=outcome.scores, changes=outcome.changes))
    return _assessment("hatecheck", hard), _assessment("identity", fair)


def _assessed(record: RunRecord, **found: Any) -> AssessedModel:
    return AssessedModel(
        path=record.result.method,
        kind="bundle",
        sha256=hash_of(record),
        labels=record.result.data.label_names,
        positive=record.result.data.positive,
        threshold=0.4,
        trained_on_source=False,
        **found,
    )


def _assessment(suite: str, models: Sequence[AssessedModel]) -> Assessment:
    return Assessment(
        suite=suite,
        source=f"{suite}.csv",
        sha256="c" * 64,
        rows=CASES,
        long_texts="truncate",
        seed=0,
        models=tuple(models),
        notes=(),
        versions={"distilora": "0.1.0"},
    )
