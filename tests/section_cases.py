"""Comparisons with everything that the sections on groups, noise and single rows tell, built in code."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from distilora.evaluation.assessments import AssessedModel, Assessment
from distilora.evaluation.disagreements import Disagreements, find_disagreements
from distilora.evaluation.label_errors import LabelErrors, find_label_errors
from distilora.evaluation.labelled_texts import LabelledTexts
from distilora.evaluation.records import Interval
from distilora.evaluation.robustness.drops import NoiseDrop
from distilora.evaluation.robustness.noise import NOISES
from distilora.evaluation.suites.hatecheck import HateCheckCases, hatecheck_changes, hatecheck_scores
from distilora.evaluation.suites.identity import identity_outcomes
from distilora.report.records import ClassChange, ClassScore, Comparison, MethodRow, Score
from distilora.runs import DataIdentity
from report_cases import kind_of

NAMES = ("hate speech", "offensive", "neither")
METHODS = ("teacher", "odd", "even", "lora")
HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "[a](javascript:alert(1)) | `code` **bold** \n# heading",
    '=HYPERLINK("x")',
    "abc \u202edef\u2066 \x00\x1b[31m",
    "lone \ud800 surrogate",
    "x" * 10_000,
)


def comparison(
    methods: Sequence[str] = METHODS, *, names: Sequence[str] = NAMES, kinds: Sequence[str] = tuple(NOISES)
) -> Comparison:
    """Return a comparison without suites or label errors; each later method is a little worse."""
    support = {name: 40 * (index + 1) for index, name in enumerate(names)}
    rows = [_row(method, index, support=support, kinds=kinds) for index, method in enumerate(methods)]
    return Comparison(
        data=DataIdentity(
            source="comments.csv",
            sha256="a" * 64,
            rows=2400,
            label_names=tuple(names),
            positive=tuple(names[:1]),
            split_seed=1150,
            part_rows={"train": 1920, "validation": 240, "test": 240},
        ),
        methods=tuple(rows),
        class_support=support,
        teacher="teacher" if "teacher" in methods else None,
        best=methods[0],
        noise_rows=200,
    )


def _row(method: str, index: int, *, support: dict[str, int], kinds: Sequence[str]) -> MethodRow:
    score = Score(mean=0.8 - 0.01 * index, sd=0.01, interval=Interval(low=0.75 - 0.01 * index, high=0.84))
    is_compared = kind_of(method) in {"student", "lora"}
    return MethodRow(
        method=method,
        kind=kind_of(method),
        seeds=(0, 1),
        macro_f1=score,
        accuracy=score,
        classes={name: ClassScore(precision=score, recall=score, f1=score) for name in support},
        noise=tuple(drop(kind, 0.02 * place - 0.01 * (index % 3)) for place, kind in enumerate(kinds)),
        disagreements=disagreements() if is_compared else None,
        class_changes=tuple(
            change(name, 0.03 * place - 0.02 * index, rows=rows) for place, (name, rows) in enumerate(support.items())
        )
        if is_compared
        else (),
    )


def drop(kind: str, value: float, *, width: float = 0.015) -> NoiseDrop:
    """Return a drop from 0.8."""
    interval = Interval(low=value - width, high=value + width)
    return NoiseDrop(kind=kind, clean_macro_f1=0.8, noisy_macro_f1=0.8 - value, drop=value, interval=interval)


def change(
    name: str, value: float, *, rows: int = 100, width: float = 0.025, p_holm: float | None = None
) -> ClassChange:
    """Return a change whose p is that of the interval, and not corrected where nothing else is said."""
    p = 2 * NormalDist().cdf(-abs(value) / (width / 1.96)) if width else 1.0
    interval = Interval(low=value - width, high=value + width)
    return ClassChange(
        name=name, rows=rows, value=value, interval=interval, p=p, p_holm=p if p_holm is None else p_holm
    )


def labelled_texts(texts: Sequence[str] = HOSTILE, *, names: Sequence[str] = NAMES) -> LabelledTexts:
    labels = np.arange(len(texts)) % len(names)
    return LabelledTexts(list(texts), labels, tuple(names), np.arange(1, len(texts) + 1) * 7)


def disagreements(texts: Sequence[str] = HOSTILE, *, limit: int | None = 50) -> Disagreements:
    """Return disagreements on every text: the teacher is right on all but the last."""
    rows = labelled_texts(texts)
    teacher, student = _said(rows.labels, sure=0.9), _said((rows.labels + 1) % 3, sure=0.8)
    teacher[-1] = teacher[-1][[2, 0, 1]]
    return find_disagreements(rows, teacher, student, limit=limit)


def label_errors(texts: Sequence[str] = HOSTILE, *, limit: int | None = 50) -> LabelErrors:
    """Return the likely errors of rows of which the last third is surely another class."""
    rows = labelled_texts([*texts, *texts, *texts])
    said = rows.labels.copy()
    said[-len(texts) :] = (said[-len(texts) :] + 1) % 3
    return find_label_errors(rows, _said(said, sure=0.9), limit=limit)


def _said(labels: np.ndarray, *, sure: float) -> np.ndarray:
    said = np.full((len(labels), 3), (1 - sure) / 2)
    said[np.arange(len(labels)), labels] = sure + np.arange(len(labels)) / 1000
    return said / said.sum(axis=1, keepdims=True)


def hatecheck(
    methods: Sequence[str] = METHODS, *, tests: int = 14, each: int = 40, hurt: int = 0, lost: float = 0.0
) -> Assessment:
    """Return a suite in which all are right four times out of five, and later methods lose a share of one test more."""
    draw = np.random.default_rng(0)
    names = [f"test_{index:02}_h" for index in range(tests)]
    functionalities = [name for name in names for _ in range(each)]
    hateful = np.array([index % 2 == 0 for index in range(tests) for _ in range(each)])
    cases = HateCheckCases(hateful, functionalities, [("women", "men", None)[i % 3] for i in range(len(hateful))])
    first = np.where(draw.random(len(hateful)) < 0.8, hateful, ~hateful)
    in_test = np.arange(len(hateful)) // each == hurt
    said = [first]
    for _ in methods[1:]:
        is_lost = in_test & (first == hateful) & (draw.random(len(hateful)) < lost)
        said.append(np.where(is_lost, ~hateful, first))
    models = [
        _model(
            method,
            hatecheck=hatecheck_scores(one, cases),
            changes=hatecheck_changes(first, one, cases) if index else (),
        )
        for index, (method, one) in enumerate(zip(methods, said, strict=True))
    ]
    return _assessment("hatecheck", "cases.csv", models, rows=len(hateful))


def identity(
    methods: Sequence[str] = METHODS, *, groups: Sequence[str] = ("women", "men"), seed: int = 0
) -> Assessment:
    """Return a suite in which every method scores the same rows a little differently."""
    draw = np.random.default_rng(seed)
    positive = draw.random(400) < 0.4
    scores = np.clip(0.4 * positive + draw.random((len(methods), 400)) * 0.6, 0, 1)
    masks = {name: np.arange(400) % (len(groups) + 1) == index for index, name in enumerate(groups)}
    outcomes = identity_outcomes(scores, positive=positive, groups=masks, resamples=200)
    models = [
        _model(method, identity=one.scores, changes=one.changes) for method, one in zip(methods, outcomes, strict=True)
    ]
    return _assessment("identity", "groups.csv", models, rows=400)


def _model(method: str, **found: object) -> AssessedModel:
    return AssessedModel.model_validate(
        {
            "path": method,
            "kind": "bundle",
            "sha256": "c" * 64,
            "labels": NAMES,
            "positive": NAMES[:2],
            "threshold": None,
            "trained_on_source": False,
            **found,
        }
    )


def _assessment(suite: str, source: str, models: Sequence[AssessedModel], *, rows: int) -> Assessment:
    return Assessment.model_validate(
        {
            "suite": suite,
            "source": source,
            "sha256": "d" * 64,
            "rows": rows,
            "long_texts": "truncate",
            "seed": 0,
            "models": models,
            "notes": (),
            "versions": {},
        }
    )
