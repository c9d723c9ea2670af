"""Models on labelled data: read, answered, scored, each later model compared with the first on the same rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilora.assess.matching import class_positions, positive_names, shared_order
from distilora.assess.models import Model, Probabilities, require_positive
from distilora.assess.sources import read_hatecheck, read_identity, read_labelled
from distilora.bundles.tokens import LongTexts
from distilora.config import DataSettings
from distilora.evaluation.answers import answer_changes
from distilora.evaluation.assessments import AssessedModel, Assessment, Suite
from distilora.evaluation.metrics import evaluate_answers
from distilora.evaluation.suites.hatecheck import hatecheck_changes, hatecheck_scores
from distilora.evaluation.suites.identity import identity_outcomes

SEED = 0
"""Of every resampling."""
_LIBRARIES = ("distilora", "numpy", "onnxruntime", "tokenizers")
_HATEFUL = "hateful"
Tell = Callable[[str], None]


def assess_labelled(
    models: Sequence[Model], settings: DataSettings, *, long_texts: LongTexts = "truncate", tell: Tell = lambda _: None
) -> Assessment:
    """Return the scores of each model on any labelled comments.

    Args:
        models: with the same classes, at least one.
        settings: source, columns, names of bare labels, and what to do about faulty rows.
        long_texts: as the models were opened with; for the record.
        tell: takes one line on what has been done.

    Raises:
        DataError: the source cannot be used, or its labels or a model's are none of the first model's classes.
        HubError: the hub is needed and cannot be reached.
        MissingExtraError: a source that needs libraries that are not installed.
    """
    orders = shared_order(models)
    comments = read_labelled(settings)
    names = models[0].labels
    labels = class_positions(comments.label_names, models[0], source=comments.source)[comments.labels]
    said = [_answered(model, comments.texts, tell=tell) for model in models]
    # An order holds a model's columns in the first one's order; argsort turns it round.
    predictions = [np.argsort(order)[model.decide(one)] for model, one, order in zip(models, said, orders, strict=True)]
    changes = [answer_changes(predictions[0], later, labels, label_names=names) for later in predictions[1:]]
    found = [
        {"evaluation": evaluate_answers(predicted, one[:, order], labels, label_names=names), "changes": changed}
        for predicted, one, order, changed in zip(predictions, said, orders, [(), *changes], strict=True)
    ]
    left_out = (f"rows left out because they cannot be used: {len(comments.faults):,}",) if comments.faults else ()
    return _assessment(
        models,
        found,
        suite=None,
        source=comments.source,
        sha256=comments.sha256,
        rows=len(comments),
        long_texts=long_texts,
        notes=(*comments.notes, *left_out, *_absent(names, labels)),
    )


def assess_hatecheck(
    models: Sequence[Model], source: str, *, long_texts: LongTexts = "truncate", tell: Tell = lambda _: None
) -> Assessment:
    """Return each model's accuracy on HateCheck; a case is called hateful where the positive classes together are.

    Args:
        models: with positive classes, at least one.
        source: a file with HateCheck's published columns, or a hub id.
        long_texts: as the models were opened with; for the record.
        tell: takes one line on what has been done.

    Raises:
        ConfigError: a model has no positive classes.
        DataError: the source cannot be used.
        HubError: the hub is needed and cannot be reached.
        MissingExtraError: a source that needs libraries that are not installed.
    """
    require_positive(models, why=_HATEFUL)
    read = read_hatecheck(source)
    said = [model.says_positive(_answered(model, read.texts, tell=tell)) for model in models]
    changes = [hatecheck_changes(said[0], later, read.cases) for later in said[1:]]
    found = [
        {"hatecheck": hatecheck_scores(one, read.cases), "changes": changed}
        for one, changed in zip(said, [(), *changes], strict=True)
    ]
    return _assessment(
        models,
        found,
        suite="hatecheck",
        source=source,
        sha256=read.sha256,
        groups_sha256=read.groups_sha256,
        rows=len(read.texts),
        long_texts=long_texts,
        notes=[
            f"{model.path}: calls {'every' if one.all() else 'no'} case hateful, so it tells none apart"
            for model, one in zip(models, said, strict=True)
            if one.all() or not one.any()
        ],
    )


def assess_identity(
    models: Sequence[Model],
    settings: DataSettings,
    *,
    group: str | None = None,
    long_texts: LongTexts = "truncate",
    tell: Tell = lambda _: None,
) -> Assessment:
    """Return each model's AUCs for the identity groups that comments mention.

    Args:
        models: with positive classes, at least one; the first says which labels of the source are positive.
        settings: source, columns, names of bare labels, and what to do about faulty rows.
        group: column of the group; absent: guessed.
        long_texts: as the models were opened with; for the record.
        tell: takes one line on what has been done.

    Raises:
        ConfigError: a model has no positive classes.
        DataError: the source cannot be used, or its labels are not known.
        HubError: the hub is needed and cannot be reached.
        MissingExtraError: a source that needs libraries that are not installed.
    """
    require_positive(models, why=_HATEFUL)
    read = read_identity(settings, group=group)
    positive, note = positive_names(read.label_names, models[0], source=settings.source)
    scores = np.stack([model.positive_probability(_answered(model, read.texts, tell=tell)) for model in models])
    outcomes = identity_outcomes(scores, positive=positive[read.labels], groups=read.groups, seed=SEED)
    return _assessment(
        models,
        [{"identity": one.scores, "changes": one.changes} for one in outcomes],
        suite="identity",
        source=settings.source,
        sha256=read.sha256,
        groups_sha256=read.groups_sha256,
        rows=len(read.texts),
        long_texts=long_texts,
        notes=(*read.notes, *([note] if note else [])),
    )


def _answered(model: Model, texts: Sequence[str], *, tell: Tell) -> Probabilities:
    probabilities = model.probabilities(texts)
    tell(f"{model.path}: {len(texts):,} texts answered")
    return probabilities


def _absent(names: Sequence[str], labels: NDArray[np.int64]) -> list[str]:
    there = set(np.unique(labels).tolist())
    return [f'no row has the label "{name}"' for code, name in enumerate(names) if code not in there]


def _assessment(  # noqa: PLR0913 - what stands in the record
    models: Sequence[Model],
    found: Sequence[dict[str, Any]],
    *,
    suite: Suite | None,
    source: str,
    sha256: str,
    rows: int,
    long_texts: LongTexts,
    groups_sha256: str | None = None,
    notes: Sequence[str] = (),
) -> Assessment:
    assessed = tuple(
        AssessedModel(
            path=model.path,
            kind=model.kind,
            sha256=model.sha256,
            labels=model.labels,
            positive=model.positive,
            threshold=model.threshold,
            trained_on_source=sha256 in model.data_sha256,
            **scores,
        )
        for model, scores in zip(models, found, strict=True)
    )
    seen = [model.path for model in assessed if model.trained_on_source]
    beware = [f"{', '.join(seen)}: trained on rows of this very source, so these scores flatter"] if seen else []
    return Assessment(
        suite=suite,
        source=source,
        sha256=sha256,
        groups_sha256=groups_sha256,
        rows=rows,
        long_texts=long_texts,
        seed=SEED,
        models=assessed,
        notes=(*notes, *beware),
        versions={name: version(name) for name in _LIBRARIES},
    )
