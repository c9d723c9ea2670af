"""POST /v1/compare: what every model says of one text."""

from __future__ import annotations

from fastapi import APIRouter, Request

from distilora.serve import answers
from distilora.serve.records import CompareRequest, CompareResponse
from distilora.serve.routes.bodies import example, json_body, read_body
from distilora.serve.routes.responses import ANY, BODY, SENT, good, problems
from distilora.serve.state import served_by

router = APIRouter(tags=["models"])

_REQUESTS = {
    "text": example("A text", {"text": "you are all idiots"}),
    "long": example(
        "A long text, read whole", {"text": "what a lovely day, " * 9 + "what a day", "long_texts": "windows"}
    ),
}
_BUNDLES = ("6c1f0a5f9d3e4b7a8c2d1e0f5a6b7c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7", "0" * 63 + "1")


def _answer(model: str, *, bundle: str, threshold: float, toxic: float) -> dict[str, object]:
    return {
        "label": "toxic" if toxic >= threshold else "civil",
        "probabilities": {"civil": round(1 - toxic, 6), "toxic": toxic},
        "positive_probability": toxic,
        "tokens": 6,
        "cut": False,
        "model": model,
        "bundle": bundle,
        "threshold": threshold,
    }


_ANSWERS = {
    "agree": example(
        "Both say the same; a third cannot be asked",
        {
            "answers": [
                _answer("odd", bundle=_BUNDLES[0], threshold=0.41, toxic=0.968258),
                _answer("lora", bundle=_BUNDLES[1], threshold=0.5, toxic=0.874311),
            ],
            "agree": True,
            "unavailable": [{"name": "even", "reason": "model.onnx is damaged"}],
        },
    ),
    "differ": example(
        "They differ",
        {
            "answers": [
                _answer("odd", bundle=_BUNDLES[0], threshold=0.41, toxic=0.452109),
                _answer("lora", bundle=_BUNDLES[1], threshold=0.5, toxic=0.301556),
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
