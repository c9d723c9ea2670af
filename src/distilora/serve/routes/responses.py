"""What the OpenAPI document says of answers: examples of the good ones, and every problem an address may answer."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from distilora.serve.problems import KINDS, PROBLEM_TYPE, Problem

ANY = ("unknown-host", "too-busy", "head-too-large", "failed", "unavailable")
"""What every address but those of the server's health may answer."""
SENT = ("foreign-origin",)
"""What an address that changes or computes something may answer too."""
BODY = ("malformed", "slow-body", "body-too-large", "wrong-media-type", "invalid")
"""What an address that takes a body may answer too."""
MODEL = ("not-found", "too-late")
"""What an address that asks a model may answer too."""

EXAMPLES: Mapping[str, Problem] = MappingProxyType(
    {
        problem.kind: problem
        for problem in (
            Problem("malformed", "the body is no JSON in UTF-8: expected value at line 1 column 1"),
            Problem("no-key", "the request has no right API key"),
            Problem("foreign-origin", "the request comes from another site's page"),
            Problem("not-found", "no model is called that; there are odd, even, lora"),
            Problem("wrong-method", "the address takes GET, HEAD"),
            Problem("slow-body", "the body did not come within 20 s"),
            Problem("body-too-large", "the body is larger than 1,048,576 bytes, which is the most that is read here"),
            Problem("wrong-media-type", "this address takes JSON only; send Content-Type: application/json"),
            Problem("unknown-host", "the request's header Host names no host that this server answers to"),
            Problem(
                "invalid",
                "texts.3: is empty, or holds nothing but white space",
                errors=({"where": "texts.3", "problem": "is empty, or holds nothing but white space"},),
            ),
            Problem("too-busy", "1,020 texts wait already and 16 more came; 1,024 may wait", retry_after_s=1),
            Problem("head-too-large", "more than 16,384 bytes came, and no end of the headers"),
            Problem("failed", "the server made a mistake; its log tells of it under 1182576e50e871b2"),
            Problem("unavailable", "the server is about to stop", retry_after_s=5),
            Problem("too-late", "there was no answer within 10 seconds"),
        )
    }
)
"""One of each kind."""
BUNDLE = "6c1f0a5f9d3e4b7a8c2d1e0f5a6b7c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7"
"""An example of a bundle's id."""
_RETRY_AFTER = {"description": "seconds after which to try again", "schema": {"type": "integer", "minimum": 0}}


def problems(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """Return ``responses`` of a route that may answer these kinds of problems, each with an example.

    Args:
        kinds: keys of :data:`distilora.serve.problems.KINDS`.

    Example:
        >>> sorted(problems("not-found", "invalid"))
        [404, 422]
    """
    responses: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        status, title, advice = KINDS[kind]
        response: dict[str, Any] = {"description": f"{title}. {advice}", "content": {PROBLEM_TYPE: _content(kind)}}
        if status in {429, 503}:
            response["headers"] = {"Retry-After": _RETRY_AFTER}
        responses[status] = response
    return responses


def _content(kind: str) -> dict[str, Any]:
    problem = EXAMPLES[kind]
    return {
        "schema": {"$ref": "#/components/schemas/ProblemBody"},
        "examples": {kind: example(problem.detail, problem.as_table())},
    }


def example(summary: str, value: Any) -> dict[str, Any]:
    """Return one of several examples, as OpenAPI wants it."""
    return {"summary": summary, "value": value}


def prediction(toxic: float, *, label: str = "toxic") -> dict[str, Any]:
    """Return an example of what a model says of one text.

    Args:
        toxic: probability of that class.
        label: what the threshold makes of it.
    """
    return {
        "label": label,
        "probabilities": {"civil": round(1 - toxic, 6), "toxic": toxic},
        "positive_probability": toxic,
        "tokens": 6,
        "cut": False,
    }


def good(examples: Mapping[str, Any], *, media_type: str = "application/json") -> dict[int | str, dict[str, Any]]:
    """Return ``responses`` with examples of the answer 200, for a route whose ``response_model`` says its form."""
    return {200: {"content": {media_type: {"examples": dict(examples)}}}}
