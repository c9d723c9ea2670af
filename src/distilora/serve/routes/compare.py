"""POST /v1/compare: what every model says of one text."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from distilora.serve import answers
from distilora.serve.records import CompareRequest, CompareResponse
from distilora.serve.routes.bodies import json_body, read_body
from distilora.serve.routes.responses import ANY, BODY, BUNDLE, SENT, example, good, prediction, problems
from distilora.serve.state import served_by

router = APIRouter(tags=["models"])

_REQUESTS = {
    "text": example("A text", {"text": "you are all idiots"}),
    "long": example(
        "A long text, read whole", {"text": "what a lovely day, " * 9 + "what a day", "long_texts": "windows"}
    ),
}


def _answer(model: str, *, toxic: float, label: str, threshold: float) -> dict[str, Any]:
    return {**prediction(toxic, label=label), "model": model, "bundle": BUNDLE, "threshold": threshold}


_ANSWERS = {
    "agree": example(
        "Both say the same; a third cannot be asked",
        {
            "answers": [
                _answer("odd", toxic=0.968258, label="toxic", threshold=0.41),
                _answer("lora", toxic=0.874311, label="toxic", threshold=0.5),
            ],
            "agree": True,
            "unavailable": [{"name": "even", "reason": "model.onnx is damaged"}],
        },
    ),
    "differ": example(
        "They differ",
        {
            "answers": [
                _answer("odd", toxic=0.452109, label="toxic", threshold=0.41),
                _answer("lora", toxic=0.301556, label="civil", threshold=0.5),
            ],
            "agree": False,
            "unavailable": [],
        },
    ),
}


@router.post(
    "/v1/compare",
    summary="Ask every model about one text",
    operation_id="compare",
    response_description="One answer for each model, the best on validation first",
    openapi_extra=json_body(CompareRequest, _REQUESTS),
    responses={**good(_ANSWERS), **problems(*ANY, *SENT, *BODY, "too-late")},
)
async def compare(request: Request) -> CompareResponse:
    """Return what each model says of one text, each with its own threshold.

    A model that cannot answer does not keep the others from it: it stands in `unavailable` with the reason.
    """
    return await answers.compare(served_by(request), await read_body(request, CompareRequest))
