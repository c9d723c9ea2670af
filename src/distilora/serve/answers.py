"""From a request's record to an answer's, for the API and the page alike."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from distilora.bundles.predictions import Predictions
from distilora.bundles.tokens import LongTexts
from distilora.serve import explaining
from distilora.serve.catalog import ServedModel
from distilora.serve.checks import check_text, check_texts
from distilora.serve.problems import Problem
from distilora.serve.records import (
    CompareRequest,
    CompareResponse,
    ExplainRequest,
    ExplainResponse,
    ModelInfo,
    ModelsResponse,
    Prediction,
    PredictRequest,
    PredictResponse,
    ScoreInfo,
    ThresholdInfo,
    UnavailableModel,
    WordInfluence,
)
from distilora.serve.state import Served

DIGITS = 6
"""Behind the point, of every probability that is sent or stored; labels are decided before it is rounded."""


class Asked(NamedTuple):
    """What one model says of texts, and which threshold held."""

    model: ServedModel
    threshold: float | None
    """Absent where the model has no positive classes."""
    predictions: Predictions


async def predict(served: Served, request: PredictRequest) -> PredictResponse:
    """Return what one model says of the texts; for the errors see :func:`predict_table`."""
    return PredictResponse.model_validate(await predict_table(served, request))


async def predict_table(served: Served, request: PredictRequest) -> dict[str, Any]:
    """Return the members of a :class:`PredictResponse`, unchecked: on the way that must be quick.

    Raises:
        Problem: ``invalid`` where there are too many texts, or one is blank or too long, or a threshold comes for a
            model without positive classes; ``not-found`` where there is no such model; else as
            :meth:`distilora.serve.batcher.Batcher.predict`.
    """
    check_texts(request.texts, limits=served.settings.limits)
    texts = [request.texts] if isinstance(request.texts, str) else request.texts
    model = served.catalog.find(request.model)
    asked = await ask(served, model, texts, threshold=request.threshold, long_texts=request.long_texts)
    count_labels(served, asked)
    return {**_head(asked), "predictions": _prediction_tables(asked.predictions)}


async def compare(served: Served, request: CompareRequest) -> CompareResponse:
    """Return what every model says of one text; those that cannot answer stand in ``unavailable``.

    Raises:
        Problem: ``invalid`` where the text is blank or too long; the first model's problem where none can answer.
    """
    check_text(request.text, limits=served.settings.limits)
    questions = [
        ask(served, model, [request.text], long_texts=request.long_texts) for model in served.catalog.models.values()
    ]
    each = dict(zip(served.catalog.models, await asyncio.gather(*questions, return_exceptions=True), strict=True))
    failed = {name: answer for name, answer in each.items() if isinstance(answer, BaseException)}
    for error in failed.values():
        if not isinstance(error, Problem) or len(failed) == len(each):
            raise error
    answers = [asked for asked in each.values() if not isinstance(asked, BaseException)]
    for asked in answers:
        count_labels(served, asked)
    return _comparison(served, answers, failed={name: str(error) for name, error in failed.items()})


def _comparison(served: Served, answers: Sequence[Asked], *, failed: dict[str, str]) -> CompareResponse:
    tables = [{**_head(asked), **_prediction_tables(asked.predictions)[0]} for asked in answers]
    missing = [*_unavailable(served), *(UnavailableModel(name=name, reason=why) for name, why in failed.items())]
    return CompareResponse.model_validate(
        {"answers": tables, "agree": len({table["label"] for table in tables}) == 1, "unavailable": missing}
    )


async def explain(served: Served, request: ExplainRequest) -> ExplainResponse:
    """Return how much each word moved the decision: the text is asked about together with itself without each word.

    Raises:
        Problem: as :func:`predict_table`.
    """
    limits = served.settings.limits
    check_text(request.text, limits=limits)
    model = served.catalog.find(request.model)
    # A long text takes milliseconds, in which nobody else would be answered.
    forms = await asyncio.to_thread(
        explaining.variants,
        request.text,
        most_words=limits.explained_words,
        most_tokens=model.bundle.max_length,
    )
    asked = await ask(served, model, forms.texts, threshold=request.threshold)
    found = explaining.influences(forms, asked.predictions)
    return ExplainResponse(
        **_head(asked),
        prediction=Prediction.model_validate(_prediction_tables(asked.predictions)[0]),
        words=[_influence(request.text, word, moved) for word, moved in found.words],
        words_left_out=found.left_out,
    )


def _influence(text: str, word: explaining.Word, moved: float) -> WordInfluence:
    return WordInfluence(
        word=text[word.start : word.end], start=word.start, end=word.end, influence=round(moved, DIGITS)
    )


def models(served: Served) -> ModelsResponse:
    """Return what is served, the best on validation first, and what was to be served but cannot be."""
    each = served.catalog.models
    return ModelsResponse(
        default=next(iter(each)),
        models=[_model_info(model) for model in each.values()],
        unavailable=_unavailable(served),
    )


def _model_info(model: ServedModel) -> ModelInfo:
    manifest = model.bundle.manifest
    origin = manifest.origin
    return ModelInfo(
        name=model.name,
        bundle=model.bundle.id,
        kind=manifest.kind,
        method=origin and origin.method,
        seed=origin and origin.seed,
        layers=list(origin.layers) if origin and origin.layers else None,
        labels=list(manifest.labels),
        positive=list(manifest.positive),
        threshold=manifest.threshold and ThresholdInfo.model_validate(manifest.threshold, from_attributes=True),
        precision=manifest.precision,
        max_tokens=model.bundle.max_length,
        parameters=manifest.parameters,
        size_bytes=model.size_bytes,
        scores=[
            ScoreInfo.model_validate(scores, from_attributes=True)
            for scores in manifest.bundle_scores or manifest.scores
        ],
    )


def _unavailable(served: Served) -> list[UnavailableModel]:
    return [UnavailableModel(name=gone.name, reason=gone.reason) for gone in served.catalog.unavailable]


async def ask(  # noqa: PLR0913 - each is a part of the question
    served: Served,
    model: ServedModel,
    texts: Sequence[str],
    *,
    threshold: float | None = None,
    long_texts: LongTexts = "truncate",
    patient: bool = False,
) -> Asked:
    """Return what a model says of texts: :meth:`distilora.serve.batcher.Batcher.predict`, and the threshold."""
    predictions = await served.batcher.predict(
        model, texts, threshold=threshold, long_texts=long_texts, patient=patient
    )
    return Asked(model, threshold_that_counts(threshold, model=model), predictions)


def threshold_that_counts(asked: float | None, *, model: ServedModel) -> float | None:
    """Return the threshold that was asked for, else the model's own, which it may not have."""
    own = model.bundle.manifest.threshold
    return own.value if asked is None and own else asked


def _head(asked: Asked) -> dict[str, Any]:
    return {"model": asked.model.name, "bundle": asked.model.bundle.id, "threshold": asked.threshold}


def _prediction_tables(predictions: Predictions) -> list[dict[str, Any]]:
    """Return one table for each text, with the members of a :class:`Prediction`.

    A float32 must become a float64 before it is rounded: else 0.1 is written as 0.10000000149011612.
    """
    names = predictions.label_names
    positive = predictions.positive_probability
    columns = zip(
        predictions.labels.tolist(),
        _rounded(predictions.probabilities),
        [None] * len(predictions) if positive is None else _rounded(positive),
        predictions.tokens.tolist(),
        predictions.cut.tolist(),
        strict=True,
    )
    return [
        {
            "label": names[label],
            "probabilities": dict(zip(names, probabilities, strict=True)),
            "positive_probability": positive_probability,
            "tokens": tokens,
            "cut": cut,
        }
        for label, probabilities, positive_probability, tokens, cut in columns
    ]


def _rounded(numbers: Any) -> list[Any]:
    rounded: list[Any] = np.asarray(numbers, dtype=np.float64).round(DIGITS).tolist()
    return rounded


def count_labels(served: Served, asked: Asked) -> None:
    """Count for Prometheus which labels were given."""
    counts = np.bincount(asked.predictions.labels, minlength=0)
    names = asked.predictions.label_names
    served.metrics.labels(
        model=asked.model.name, counts={names[label]: int(counts[label]) for label in np.flatnonzero(counts)}
    )
