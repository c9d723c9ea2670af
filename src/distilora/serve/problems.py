"""Every way in which the server says no: one JSON form (RFC 9457), one name, one status each.

Source: Nottingham, Wilde & Dalal (2023), Problem Details for HTTP APIs, https://www.rfc-editor.org/rfc/rfc9457.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from starlette.responses import JSONResponse

PROBLEM_TYPE = "application/problem+json"
PROBLEMS_PAGE = "/api"
"""The page that explains every problem; a problem's ``type`` points into it."""


class Kind(NamedTuple):
    """One kind of problem."""

    status: int
    title: str
    advice: str
    """What to do about it, for the page that explains it."""


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "malformed": Kind(400, "The request cannot be read", "Send JSON in UTF-8, or a form where one is asked for."),
        "no-key": Kind(401, "An API key is needed", "Send the header Authorization: Bearer KEY, or sign in."),
        "foreign-origin": Kind(
            403, "Another site's page may not do this", "Send the request from the server's own page."
        ),
        "not-found": Kind(404, "There is nothing here", "See /api for the addresses and /v1/models for the models."),
        "wrong-method": Kind(
            405,
            "The address does not take this method",
            "Use the form on the page, or a method that the answer's header Allow names.",
        ),
        "slow-body": Kind(408, "The request took too long to come", "Send it again, or in smaller parts."),
        "body-too-large": Kind(
            413, "The request's body is too large", "Send fewer texts at a time, or a smaller file."
        ),
        "wrong-media-type": Kind(
            415, "The body is in a form that is not taken", "Send Content-Type: application/json."
        ),
        "unknown-host": Kind(421, "The server is not called that", "Start it with --allow-host NAME."),
        "invalid": Kind(
            422, "The request holds a value that is not allowed", "See errors: where it is, and what is allowed."
        ),
        "too-busy": Kind(429, "Too much is waiting already", "Wait as long as the header Retry-After says."),
        "head-too-large": Kind(
            431, "The request's headers are too large", "Send shorter headers, or a shorter address."
        ),
        "failed": Kind(
            500, "The server made a mistake", "See its log; the request's id stands in the header X-Request-Id."
        ),
        "unavailable": Kind(
            503, "The server cannot do this now", "Try again after the header Retry-After, or see the detail."
        ),
        "too-late": Kind(504, "The answer took too long", "Send fewer or shorter texts, or ask a smaller model."),
    }
)


class Problem(Exception):  # noqa: N818 - the specification's word
    """A request that is refused; raise it anywhere below the application and the client gets it as JSON.

    Args:
        kind: a key of :data:`KINDS`.
        detail: this case in one sentence: what came, what is allowed. Never holds a comment.
        errors: the places that are wrong, as ``{"where": "texts.3", "problem": "…"}``.
        retry_after_s: seconds after which to try again; sent as ``Retry-After``.
        headers: more headers of the answer.
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        errors: tuple[Mapping[str, str], ...] = (),
        retry_after_s: int | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.status = KINDS[kind].status
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers) if retry_after_s is None else {**headers, "Retry-After": str(retry_after_s)}

    def as_table(self) -> dict[str, object]:
        """Return the members that RFC 9457 asks for, and ``errors`` where there are some.

        Example:
            >>> Problem("not-found", "no model is called even").as_table()["type"]
            '/api#not-found'
        """
        table: dict[str, object] = {
            "type": f"{PROBLEMS_PAGE}#{self.kind}",
            "title": KINDS[self.kind].title,
            "status": self.status,
            "detail": self.detail,
        }
        return {**table, "errors": [dict(error) for error in self.errors]} if self.errors else table


def problem_response(problem: Problem) -> JSONResponse:
    """Return the answer that says so; it can be called as an ASGI application."""
    return JSONResponse(problem.as_table(), problem.status, headers=problem.headers, media_type=PROBLEM_TYPE)
