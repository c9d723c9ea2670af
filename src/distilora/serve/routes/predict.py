"""POST /v1/predict: texts in, labels and probabilities out."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic_core import to_json

from distilora.serve.answers import predict_table
from distilora.serve.records import PredictRequest, PredictResponse
from distilora.serve.routes.bodies import json_body, read_body
from distilora.serve.routes.responses import ANY, BODY, BUNDLE, MODEL, SENT, example, good, prediction, problems
from distilora.serve.state import served_by

router = APIRouter(tags=["models"])

_RUDE, _KIND = prediction(0.968258), prediction(0.008796, label="civil")
_BY = {"model": "odd", "bundle": BUNDLE, "threshold": 0.41}
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
    "one": example("Of one text", {**_BY, "predictions": [_RUDE]}),
    "several": example("Of several, in order", {**_BY, "predictions": [_RUDE, _KIND]}),
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
