"""From a request's record to an answer's, for the API and the page alike."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from distilora.bundles.manifest import Scores
from distilora.bundles.predictions import Predictions
from distilora.bundles.tokens import LongTexts
from distilora.errors import FeedbackError, FeedbackFullError
from distilora.serve import explaining
from distilora.serve.catalog import ServedModel
from distilora.serve.checks import check_label, check_storable, check_text, check_texts, check_threshold
from distilora.serve.feedback.store import FeedbackStore, NewFeedback
from distilora.serve.problems import Problem
from distilora.serve.records import (
    CompareRequest,
    CompareResponse,
    ExplainRequest,
    ExplainResponse,
    FeedbackRequest,
    FeedbackRow,
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
"""Of a probability behind the point."""
_RETRY_AFTER_S = 5
_log = logging.getLogger(__name__)


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
    texts = [request.texts] if isinstance(request.texts, str) else request.texts
    if isinstance(request.texts, str):
        check_text(request.texts, limits=served.settings.limits, where="texts")
    else:
        check_texts(texts, limits=served.settings.limits)
    model = served.catalog.find(request.model)
    asked = await _ask(served, model, texts, threshold=request.threshold, long_texts=request.long_texts)
    _count_labels(served, asked)
    return {**_head(asked), "predictions": prediction_tables(asked.predictions)}


async def compare(served: Served, request: CompareRequest) -> CompareResponse:
    """Return what every model says of one text; those that cannot answer stand in ``unavailable``.

    Raises:
        Problem: ``invalid`` where the text is blank or too long; the first model's problem where none can answer.
    """
    check_text(request.text, limits=served.settings.limits)
    questions = [
        _ask(served, model, [request.text], long_texts=request.long_texts) for model in served.catalog.models.values()
    ]
    each = dict(zip(served.catalog.models, await asyncio.gather(*questions, return_exceptions=True), strict=True))
    failed = {name: answer for name, answer in each.items() if isinstance(answer, BaseException)}
    for error in failed.values():
        if not isinstance(error, Problem) or len(failed) == len(each):
            raise error
    answers = [asked for asked in each.values() if not isinstance(asked, BaseException)]
    for asked in answers:
        _count_labels(served, asked)
    return _comparison(served, answers, failed={name: str(error) for name, error in failed.items()})


def _comparison(served: Served, answers: Sequence[Asked], *, failed: dict[str, str]) -> CompareResponse:
    tables = [{**_head(asked), **prediction_tables(asked.predictions)[0]} for asked in answers]
    missing = [*_unavailable(served), *(UnavailableModel(name=name, reason=why) for name, why in failed.items())]
    return CompareResponse.model_validate(
        {"answers": tables, "agree": len({table["label"] for table in tables}) == 1, "unavailable": missing}
    )


async def explain(served: Served, request: ExplainRequest) -> ExplainResponse:
    """Return how much each word moved the decision: the text, and the text without each word, in one batch.

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
        most_tokens=model.bundle.manifest.max_length,
    )
    asked = await _ask(served, model, forms.texts, threshold=request.threshold)
    found = explaining.influences(forms, asked.predictions)
    return ExplainResponse(
        **_head(asked),
        prediction=Prediction.model_validate(prediction_tables(asked.predictions)[0]),
        words=[_influence(request.text, word, moved) for word, moved in found.words],
        words_left_out=found.left_out,
    )


def _influence(text: str, word: explaining.Word, moved: float) -> WordInfluence:
    return WordInfluence(
        word=text[word.start : word.end], start=word.start, end=word.end, influence=round(moved, DIGITS)
    )


async def judge(served: Served, request: FeedbackRequest) -> FeedbackRow:
    """Store what the right label of a text is beside what the model says of it now, and return the row.

    Raises:
        Problem: ``unavailable`` where feedback is off, or its database fails or is full; ``invalid`` where the label is
            none of the model's, or a text holds what a database cannot; else as :func:`predict_table`.
    """
    store = _store_of(served)
    check_text(request.text, limits=served.settings.limits)
    check_storable(request.text, where="text")
    check_storable(request.note or "", where="note")
    model = served.catalog.find(request.model)
    check_label(request.label, model=model)
    asked = await _ask(served, model, [request.text], threshold=request.threshold)
    row = await _stored(store, _judgement(request, asked))
    served.metrics.feedback(model=model.name, right=row.right)
    return row


def _store_of(served: Served) -> FeedbackStore:
    if served.feedback is None:
        raise Problem("unavailable", "feedback is off on this server; start it with --feedback FILE")
    return served.feedback


def _judgement(request: FeedbackRequest, asked: Asked) -> NewFeedback:
    answer = next(iter(asked.predictions))
    return NewFeedback(
        text=request.text,
        label=request.label,
        predicted=answer.label,
        probability=round(answer.probabilities[answer.label], DIGITS),
        model=asked.model.name,
        bundle=asked.model.bundle.id,
        threshold=asked.threshold,
        note=request.note or None,
    )


async def _stored(store: FeedbackStore, new: NewFeedback) -> FeedbackRow:
    try:
        return await asyncio.to_thread(store.add, new)
    except FeedbackFullError as error:
        raise Problem("unavailable", str(error)) from error
    except FeedbackError as error:
        _log.error("feedback was not stored: %s", error)  # without what caused it, which may quote the text
        raise Problem(
            "unavailable", "the feedback database cannot be written now", retry_after_s=_RETRY_AFTER_S
        ) from error


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
        threshold=manifest.threshold and ThresholdInfo(value=manifest.threshold.value, goal=manifest.threshold.goal),
        precision=manifest.precision,
        max_tokens=manifest.max_length,
        parameters=manifest.parameters,
        size_bytes=model.size_bytes,
        scores=[_score_info(scores) for scores in manifest.bundle_scores or manifest.scores],
    )


def _score_info(scores: Scores) -> ScoreInfo:
    return ScoreInfo(
        part=scores.part,
        rows=scores.rows,
        accuracy=scores.accuracy,
        macro_f1=scores.macro_f1,
        macro_f1_interval=scores.macro_f1_interval,
    )


def _unavailable(served: Served) -> list[UnavailableModel]:
    return [UnavailableModel(name=gone.name, reason=gone.reason) for gone in served.catalog.unavailable]


async def _ask(
    served: Served,
    model: ServedModel,
    texts: Sequence[str],
    *,
    threshold: float | None = None,
    long_texts: LongTexts = "truncate",
) -> Asked:
    check_threshold(threshold, model=model)
    predictions = await served.batcher.predict(model, texts, threshold=threshold, long_texts=long_texts)
    own = model.bundle.manifest.threshold
    return Asked(model, own.value if threshold is None and own else threshold, predictions)


def _head(asked: Asked) -> dict[str, Any]:
    return {"model": asked.model.name, "bundle": asked.model.bundle.id, "threshold": asked.threshold}


def prediction_tables(predictions: Predictions) -> list[dict[str, Any]]:
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


def _count_labels(served: Served, asked: Asked) -> None:
    counts = np.bincount(asked.predictions.labels, minlength=0)
    names = asked.predictions.label_names
    served.metrics.labels(
        model=asked.model.name, counts={names[label]: int(counts[label]) for label in np.flatnonzero(counts)}
    )
