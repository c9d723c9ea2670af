"""The OpenAPI document of one running server: with its models, its limits, and every problem it may answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from distilora.serve.records import CompareRequest, ExplainRequest, FeedbackRequest, PredictRequest, ProblemBody
from distilora.serve.routes.responses import problems
from distilora.serve.settings import Limits
from distilora.serve.state import Served

TAGS = [
    {"name": "models", "description": "Ask the models."},
    {"name": "feedback", "description": "Say which answers were right; take what was said back into training."},
    {"name": "files", "description": "Have a whole file of comments answered."},
    {"name": "health", "description": "For what watches over the server."},
]
LICENSE = {"name": "MIT", "identifier": "MIT"}
SERVERS = [{"url": "/", "description": "this server"}]
OPEN = ("/healthz", "/readyz")
"""What needs no key."""
_RECORDS: tuple[type[BaseModel], ...] = (PredictRequest, CompareRequest, ExplainRequest, FeedbackRequest, ProblemBody)
_MOST_NAMES = 100
_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "the server's API key"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "the same key"},
}
_NOT_BLANK = {"minLength": 1, "pattern": r"\S"}
_STORABLE = r"^[^\u0000]*$"
_STORABLE_NOT_BLANK = r"^[^\u0000]*[^\s\u0000][^\u0000]*$"


def describe(document: dict[str, Any], served: Served) -> dict[str, Any]:
    """Return the document that FastAPI made, changed in place into that of this server.

    Bodies that are read past FastAPI get their schemas, texts their limits, models and labels their names; where a key
    is set, every operation says so.

    Args:
        document: of :meth:`fastapi.FastAPI.openapi`.
        served: what is served, and its settings.
    """
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(_schemas())
    _limit_texts(schemas, limits=served.settings.limits)
    _name_models(schemas, served=served)
    for operation in _operations(document):
        _fit_examples(operation, served=served)
    if served.settings.api_key is not None:
        _ask_for_key(document)
    return document


def _schemas() -> dict[str, Any]:
    _, found = models_json_schema(
        [(record, "validation") for record in _RECORDS], ref_template="#/components/schemas/{model}"
    )
    schemas: dict[str, Any] = found["$defs"]
    return schemas


def _limit_texts(schemas: dict[str, Any], *, limits: Limits) -> None:
    text = {**_NOT_BLANK, "maxLength": limits.characters}
    texts = schemas["PredictRequest"]["properties"]["texts"]
    texts["anyOf"] = [
        {"type": "string", **text},
        {"type": "array", "items": {"type": "string", **text}, "minItems": 1, "maxItems": limits.texts},
    ]
    for record in (CompareRequest, ExplainRequest, FeedbackRequest):
        schemas[record.__name__]["properties"]["text"].update(text)
    judged = schemas["FeedbackRequest"]["properties"]
    judged["text"]["pattern"] = _STORABLE_NOT_BLANK
    judged["note"]["anyOf"][0]["pattern"] = _STORABLE


def _name_models(schemas: dict[str, Any], *, served: Served) -> None:
    """Say which models and labels there are, unless they are too many to be read."""
    models = served.catalog.models
    labels = list(dict.fromkeys(label for model in models.values() for label in model.bundle.labels))
    for record in (PredictRequest, ExplainRequest, FeedbackRequest):
        name = schemas[record.__name__]["properties"]["model"]
        name["description"] = name["anyOf"][0]["description"]
        if len(models) <= _MOST_NAMES:
            name["anyOf"] = [{"type": "string", "enum": list(models)}, {"type": "null"}]
        name["examples"] = [next(iter(models))]
    label = schemas["FeedbackRequest"]["properties"]["label"]
    if len(labels) <= _MOST_NAMES:
        label["enum"] = labels
    label["examples"] = labels[:1]


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        yield from (operation for operation in path.values() if "responses" in operation)


def _fit_examples(operation: dict[str, Any], *, served: Served) -> None:
    """Make the examples of requests such that this server's default model can answer them."""
    name, model = next(iter(served.catalog.models.items()))
    for media in operation.get("requestBody", {}).get("content", {}).values():
        for example in media.get("examples", {}).values():
            value = example["value"]
            if "model" in value:
                value["model"] = name
            if "label" in value and value["label"] not in model.bundle.labels:
                value["label"] = model.bundle.labels[0]
            if not model.bundle.manifest.positive:
                value.pop("threshold", None)


def _ask_for_key(document: dict[str, Any]) -> None:
    document["components"]["securitySchemes"] = _KEYS
    document["security"] = [{name: []} for name in _KEYS]
    for where, path in document["paths"].items():
        for operation in path.values():
            if where in OPEN:
                operation["security"] = []
            else:
                operation["responses"]["401"] = problems("no-key")[401]
