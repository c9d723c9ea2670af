"""POST /v1/predict: texts in, labels and probabilities out."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic_core import to_json

from distilora.serve.answers import predict_table
from distilora.serve.records import PredictRequest, PredictResponse
from distilora.serve.routes.bodies import example, json_body, read_body
from distilora.serve.routes.responses import ANY, BODY, MODEL, SENT, good, problems
from distilora.serve.state import served_by

router = APIRouter(tags=["models"])

_BUNDLE = "6c1f0a5f9d3e4b7a8c2d1e0f5a6b7c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7"
_RUDE = {
    "label": "toxic",
    "probabilities": {"civil": 0.031742, "toxic": 0.968258},
    "positive_probability": 0.968258,
    "tokens": 6,
    "cut": False,
}
_KIND = {
    "label": "civil",
    "probabilities": {"civil": 0.991204, "toxic": 0.008796},
    "positive_probability": 0.008796,
    "tokens": 6,
    "cut": False,
}
_REQUESTS = {
    "one": example("One text, the best model", {"texts": "you are all idiots"}),
    "several": example(
        "Several texts, one model", {"texts": ["you are all idiots", "what a lovely day"], "model": "odd"}
    ),
    "strict": example(
        "A threshold of one's own, long texts read whole",
        {"texts": ["you are all idiots"], "threshold": 0.9, "long_texts": "windows"},
    ),
}
_ANSWERS = {
    "one": example("Of one text", {"model": "odd", "bundle": _BUNDLE, "threshold": 0.41, "predictions": [_RUDE]}),
    "several": example(
        "Of several, in order", {"model": "odd", "bundle": _BUNDLE, "threshold": 0.41, "predictions": [_RUDE, _KIND]}
    ),
}


@router.post(
    "/v1/predict",
    response_model=PredictResponse,
    summary="Classify texts",
    operation_id="predict",
    response_description="One prediction for each text, in order",
    openapi_extra=json_body(PredictRequest, _REQUESTS),
    responses={**good(_ANSWERS), **problems(*ANY, *SENT, *BODY, *MODEL)},
)
async def predict(request: Request) -> Response:
    """Return a label and the probability of every class for one text or a list of them.

    Requests that come at the same time share the model's work. Nothing is stored.
    """
    asked = await read_body(request, PredictRequest)
    return Response(to_json(await predict_table(served_by(request), asked)), media_type="application/json")
