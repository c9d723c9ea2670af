"""GET /v1/models: what is served."""

from __future__ import annotations

from fastapi import APIRouter, Request

from distilora.serve import answers
from distilora.serve.records import ModelsResponse
from distilora.serve.routes.responses import ANY, BUNDLE, example, good, problems
from distilora.serve.state import served_by

router = APIRouter(tags=["models"])

_ANSWERS = {
    "student": example(
        "One student of odd layers; another model cannot be opened",
        {
            "default": "odd",
            "models": [
                {
                    "name": "odd",
                    "bundle": BUNDLE,
                    "kind": "model",
                    "method": "odd",
                    "seed": 0,
                    "layers": [1, 3, 5],
                    "labels": ["civil", "toxic"],
                    "positive": ["toxic"],
                    "threshold": {"value": 0.41, "goal": "f1"},
                    "precision": "int8",
                    "max_tokens": 128,
                    "parameters": 17390978,
                    "size_bytes": 11534336,
                    "scores": [
                        {
                            "part": "test",
                            "rows": 2479,
                            "accuracy": 0.912,
                            "macro_f1": 0.874,
                            "macro_f1_interval": [0.861, 0.887],
                        }
                    ],
                }
            ],
            "unavailable": [{"name": "even", "reason": "model.onnx is damaged"}],
        },
    )
}


@router.get(
    "/v1/models",
    summary="List the models",
    operation_id="models",
    response_description="All models, the best on validation first",
    responses={**good(_ANSWERS), **problems(*ANY)},
)
async def models(request: Request) -> ModelsResponse:
    """Return every model with its labels, scores, size and method; the first one answers where none is named."""
    return answers.models(served_by(request))
