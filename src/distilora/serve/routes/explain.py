"""POST /v1/explain: which words moved a decision."""

from __future__ import annotations

from fastapi import APIRouter, Request

from distilora.serve import answers
from distilora.serve.records import ExplainRequest, ExplainResponse
from distilora.serve.routes.bodies import example, json_body, read_body
from distilora.serve.routes.responses import ANY, BODY, MODEL, SENT, good, problems
from distilora.serve.state import served_by

router = APIRouter(tags=["models"])

_REQUESTS = {
    "text": example("A text, the best model", {"text": "you are all idiots"}),
    "model": example("A model and a threshold", {"text": "you are all idiots", "model": "odd", "threshold": 0.9}),
}
_ANSWERS = {
    "text": example(
        "One word decides",
        {
            "model": "odd",
            "bundle": "6c1f0a5f9d3e4b7a8c2d1e0f5a6b7c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7",
            "threshold": 0.41,
            "prediction": {
                "label": "toxic",
                "probabilities": {"civil": 0.031742, "toxic": 0.968258},
                "positive_probability": 0.968258,
                "tokens": 6,
                "cut": False,
            },
            "words": [
                {"word": "you", "start": 0, "end": 3, "influence": 0.021877},
                {"word": "are", "start": 4, "end": 7, "influence": -0.004012},
                {"word": "all", "start": 8, "end": 11, "influence": 0.010243},
                {"word": "idiots", "start": 12, "end": 18, "influence": 0.911304},
            ],
            "words_left_out": 0,
        },
    )
}


@router.post(
    "/v1/explain",
    summary="Weigh the words of a text",
    operation_id="explain",
    response_description="The prediction, and what each word did to it",
    openapi_extra=json_body(ExplainRequest, _REQUESTS),
    responses={**good(_ANSWERS), **problems(*ANY, *SENT, *BODY, *MODEL)},
)
async def explain(request: Request) -> ExplainResponse:
    """Return how much each word moved the decision, found by leaving each out in turn.

    An influence above 0 speaks for the label, one below 0 against it. Words influence each other: what two of them do
    together shows in neither.
    """
    return await answers.explain(served_by(request), await read_body(request, ExplainRequest))
