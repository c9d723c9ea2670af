"""POST /v1/explain: which words moved a decision."""

from __future__ import annotations

from fastapi import APIRouter, Request

from distilora.serve import answers
from distilora.serve.records import ExplainRequest, ExplainResponse
from distilora.serve.routes.bodies import json_body, read_body
from distilora.serve.routes.responses import ANY, BODY, BUNDLE, MODEL, SENT, example, good, prediction, problems
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
            "bundle": BUNDLE,
            "threshold": 0.41,
            "prediction": prediction(0.968258),
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
