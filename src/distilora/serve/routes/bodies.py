"""A request's JSON body becomes a record, or a problem that says where it is wrong."""

from __future__ import annotations

from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from python_multipart.multipart import parse_options_header

from distilora.serve.checks import refused
from distilora.serve.problems import Problem

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
    if media_type(request) != "application/json":
        raise Problem("wrong-media-type", "this address takes JSON only; send Content-Type: application/json")
    try:
        return record.model_validate_json(await request.body())
    except ValidationError as error:
        raise refused(error, record=record) from None


def media_type(request: Request) -> str:
    """Return what the request's body is sent as, in small letters and without parameters such as the charset."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


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


def json_body(record: type[BaseModel], examples: dict[str, Any]) -> dict[str, Any]:
    """Return what the OpenAPI document says of a body that :func:`read_body` reads.

    Args:
        record: that the body becomes; :mod:`distilora.serve.document` puts its schema in.
        examples: by name, of :func:`distilora.serve.routes.responses.example`.
    """
    schema = {"$ref": f"#/components/schemas/{record.__name__}"}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema, "examples": examples}}}
    }
