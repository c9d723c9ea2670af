"""What the first page shows of an answer."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from distilora.serve import answers
from distilora.serve.checks import Fault, refusal
from distilora.serve.page.forms import CommentForm, threshold_of
from distilora.serve.page.influence import STEPS, pieces, strongest
from distilora.serve.records import (
    CompareRequest,
    CompareResponse,
    ExplainRequest,
    ExplainResponse,
    PredictRequest,
    PredictResponse,
)
from distilora.serve.state import Served

Answer = PredictResponse | CompareResponse | ExplainResponse

MOST_BARS = 12
"""Classes that each get a bar; of more only the likeliest do."""


class Opinion(NamedTuple):
    """A label and the models that give it."""

    label: str
    models: list[str]


async def answer_to(served: Served, asked: CommentForm) -> Answer:
    """Return what the form asks for.

    Raises:
        Problem: as :mod:`distilora.serve.answers`, and where the threshold is no number.
    """
    if not asked.text or asked.text.isspace():
        raise refusal([Fault("text", "paste or write a comment first; this one is empty")])
    if asked.ask == "compare":
        return await answers.compare(served, CompareRequest(text=asked.text, long_texts=asked.long_texts))
    if asked.ask == "explain":
        request = ExplainRequest(text=asked.text, model=asked.model, threshold=threshold_of(asked.threshold))
        return await answers.explain(served, request)
    return await answers.predict(
        served,
        PredictRequest(
            texts=asked.text,
            model=asked.model,
            threshold=threshold_of(asked.threshold),
            long_texts=asked.long_texts,
        ),
    )


def views(asked: CommentForm, answer: object) -> dict[str, Any]:
    """Return what the templates need beside the answer itself."""
    views: dict[str, Any] = {"most_bars": MOST_BARS}
    if isinstance(answer, CompareResponse):
        views |= {"opinions": opinions(answer)}
    if isinstance(answer, ExplainResponse):
        words = answer.words
        views |= {"pieces": pieces(asked.text, words), "strongest": strongest(words), "steps": STEPS}
    return views


def opinions(answer: CompareResponse) -> list[Opinion]:
    """Return every label that was given with its models, the most frequent first; of two equals the better model's."""
    counts = Counter(each.label for each in answer.answers)
    return [Opinion(label, _models_that_say(label, answer)) for label, _ in counts.most_common()]


def _models_that_say(label: str, answer: CompareResponse) -> list[str]:
    return [each.model for each in answer.answers if each.label == label]
