"""The OpenAPI document: every operation, every refusal, and examples that have the form that they promise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import validator_for

from distilora.serve.problems import KINDS, PROBLEM_TYPE
from distilora.serve.routes.responses import EXAMPLES
from serving_cases import serving


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    limits = {"texts": 4, "characters": 200}
    with serving(tmp_path_factory.mktemp("served"), limits=limits) as client:
        found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    operations = dict(_operations(document))
    assert {
        *("POST /v1/predict", "POST /v1/compare", "POST /v1/explain", "GET /v1/models", "POST /v1/files"),
        *("POST /v1/feedback", "GET /v1/feedback", "DELETE /v1/feedback/{id}", "GET /v1/feedback.csv"),
        *("GET /v1/feedback.jsonl", "GET /healthz", "GET /readyz", "GET /metrics"),
    } == set(operations)
    tags = {tag["name"] for tag in document["tags"]}
    for name, operation in operations.items():
        assert operation["summary"], name
        assert operation["description"], name
        assert set(operation["tags"]) <= tags, name
    assert len({operation["operationId"] for operation in operations.values()}) == len(operations)


def test_every_refusal_is_documented_as_a_problem_with_an_example(document: dict[str, Any]) -> None:
    for name, operation in _operations(document):
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert list(response["content"]) == [PROBLEM_TYPE], f"{name} {status}"
                example = next(iter(response["content"][PROBLEM_TYPE]["examples"].values()))["value"]
                assert example["status"] == int(status)
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert set(EXAMPLES) == set(KINDS)


def test_every_example_has_the_form_that_is_promised(document: dict[str, Any]) -> None:
    checked = 0
    for name, operation in _operations(document):
        bodies = [operation["requestBody"]["content"]] if "requestBody" in operation else []
        for content in (*bodies, *(response.get("content", {}) for response in operation["responses"].values())):
            for media in content.values():
                schema = {**media["schema"], "components": document["components"]}
                for example in media.get("examples", {}).values():
                    errors = [error.message for error in validator_for(schema).iter_errors(example["value"])]
                    assert not errors, f"{name}: {errors}"
                    checked += 1
    assert checked > 30


def test_the_document_tells_this_servers_limits_and_models(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    one, several = schemas["PredictRequest"]["properties"]["texts"]["anyOf"]
    assert (one["maxLength"], several["maxItems"], several["items"]["maxLength"]) == (200, 4, 200)
    model = schemas["PredictRequest"]["properties"]["model"]
    assert (model["anyOf"][0]["enum"], bool(model["description"])) == (["odd", "even", "plain"], True)
    assert schemas["FeedbackRequest"]["properties"]["label"]["enum"] == ["civil", "toxic", "bad", "good", "neither"]


def test_a_key_is_documented_where_one_is_needed(tmp_path: Path, document: dict[str, Any]) -> None:
    assert "securitySchemes" not in document["components"]
    with serving(tmp_path, bundles={"odd": {}}, api_key="k" * 32) as api:
        assert api.get("/v1/models").status_code == 401
        found = api.get("/openapi.json", headers={"X-API-Key": "k" * 32}).json()
    assert set(found["components"]["securitySchemes"]) == {"bearer", "key"}
    assert found["security"] == [{"bearer": []}, {"key": []}]
    assert found["paths"]["/healthz"]["get"]["security"] == []
    assert "401" in found["paths"]["/v1/predict"]["post"]["responses"]


def test_examples_of_requests_can_be_sent_to_this_server(tmp_path: Path) -> None:
    with serving(tmp_path, bundles={"plain": {"labels": ("bad", "good"), "positive": ()}}) as api:
        sent = 0
        for name, operation in _operations(api.get("/openapi.json").json()):
            method, path = name.split()
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            for example in content.get("examples", {}).values():
                assert api.request(method, path, json=example["value"]).status_code < 300, example
                sent += 1
    assert sent >= 8
