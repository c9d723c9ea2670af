"""A request's JSON body becomes a record, or a problem that says where it is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from python_multipart.multipart import parse_options_header

from distilora.serve.checks import Fault, refusal
from distilora.serve.problems import Problem
from distilora.serve.wrong_values import wrong_values

Body = TypeVar("Body", bound=BaseModel)


async def read_body(request: Request, record: type[Body]) -> Body:
    """Return the request's body as a record.

    It is read in one go from bytes to record, which is several times as quick as a parameter of the route would be.

    Args:
        request: whose media type must be ``application/json``, with or without a charset: other sites' forms cannot
            send that.
        record: what is asked for.

    Raises:
        Problem: ``wrong-media-type``; ``malformed`` for what is no JSON in UTF-8, halves of surrogate pairs included;
            ``invalid``.

    Source:
        Bray (2015), The I-JSON Message Format, §2.1, https://www.rfc-editor.org/rfc/rfc7493.
    """
    media_type = request.headers.get("content-type", "")
    if media_type != "application/json" and media_type.partition(";")[0].strip().lower() != "application/json":
        raise Problem("wrong-media-type", "this address takes JSON only; send Content-Type: application/json")
    try:
        return record.model_validate_json(await request.body())
    except ValidationError as error:
        raise refused(error, record=record) from None


async def require_utf_8(request: Request) -> None:
    """Refuse a form in another charset than UTF-8: the framework would decode it by whatever codec Python has.

    Raises:
        Problem: ``wrong-media-type``.

    Source:
        RFC 7578, §5.1.2, https://www.rfc-editor.org/rfc/rfc7578#section-5.1.2.
    """
    _, options = parse_options_header(request.headers.get("content-type"))
    if options.get(b"charset", b"utf-8").lower() not in {b"utf-8", b"utf8"}:
        raise Problem("wrong-media-type", "forms are taken in UTF-8 only; leave the charset out")


def refused(error: ValidationError, *, record: type[BaseModel]) -> Problem:
    """Return what is wrong with a body, without anything of what came.

    Args:
        error: of pydantic.
        record: that was asked for.
    """
    found = error.errors(include_url=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        return Problem("malformed", f"the body is no JSON in UTF-8: {found[0]['ctx']['error']}")
    known = [{**each, "loc": ("body", *each["loc"])} for each in found if each["type"] != "extra_forbidden"]
    faults = _deepest([Fault(**each) for each in wrong_values(known)])
    if len(known) < len(found):  # which names came is not told
        faults.append(Fault("body", f"holds an unknown field; allowed are {', '.join(record.model_fields)}"))
    return refusal(faults)


def _deepest(faults: Sequence[Fault]) -> list[Fault]:
    """Return faults without those that come of a fault further inside."""
    places = [fault.where for fault in faults]
    return [fault for fault in faults if not any(place.startswith(f"{fault.where}.") for place in places)]


def example(summary: str, value: Any) -> dict[str, Any]:
    """Return one of several examples, as OpenAPI wants it."""
    return {"summary": summary, "value": value}


def json_body(record: type[BaseModel], examples: dict[str, Any]) -> dict[str, Any]:
    """Return what the OpenAPI document says of a body that :func:`read_body` reads.

    Args:
        record: that the body becomes; :mod:`distilora.serve.document` puts its schema in.
        examples: by name, of :func:`example`.
    """
    schema = {"$ref": f"#/components/schemas/{record.__name__}"}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema, "examples": examples}}}
    }
