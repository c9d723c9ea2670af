"""Every failure becomes a problem of one form: JSON for programs, a page for people."""

from __future__ import annotations

import json
from typing import cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match, Mount
from starlette.types import Receive, Scope, Send

from distilora.serve.page.rendering import render
from distilora.serve.problems import KINDS, Problem, problem_response
from distilora.serve.protection.reading import wants_page
from distilora.serve.wrong_values import wrong_values

_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_DETAILS = {
    "malformed": "the body cannot be read",
    "not-found": "nothing has this address",
    "wrong-method": "the address does not take this method",
}
_UNREADABLE = {
    RecursionError: "the body's JSON is nested too deeply",
    UnicodeDecodeError: "the body is not UTF-8",
    ValueError: "the body's JSON holds a number of too many digits",
}


def answer_failures(app: FastAPI) -> None:
    """Make the application answer Problem, bad values, unknown addresses and mistakes of its own with one form.

    A mistake that nothing here knows is answered by :class:`distilora.serve.protection.mistakes.Mistakes`.
    """

    async def answer(request: Request, error: Exception) -> Response:
        return answer_to(problem_of(error, request), request)

    for kind in (Problem, RequestValidationError, HTTPException, UnicodeEncodeError):
        app.add_exception_handler(kind, answer)


def problem_of(error: Exception, request: Request) -> Problem:
    """Return what a known failure of a request is called; never a word of the request itself."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return _wrong_body(error)
    if isinstance(error, HTTPException):
        return _refused(error, request)
    if isinstance(error, UnicodeEncodeError) and "surrogate" in error.reason:
        return Problem("invalid", "a text holds half a surrogate pair, which is no character")
    raise error


def answer_to(problem: Problem, request: Request) -> Response:
    """Return the answer that tells of a problem: a page where a person's browser asked for one, else JSON."""
    if not wants_page(request.scope):
        return problem_response(problem)
    return render(request, "problem.html", problem=problem)


async def refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request with a problem, from outside the application."""
    await answer_to(problem, Request(scope, receive))(scope, receive, send)


def _wrong_body(error: RequestValidationError) -> Problem:
    if isinstance(error.body, bytes):  # FastAPI leaves a body alone whose media type is not JSON's
        return Problem("wrong-media-type", "the body is not sent as application/json")
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        place = first["loc"][-1]
        return Problem("malformed", f"the body is not JSON: {first['ctx']['error']} at character {place}")
    errors = wrong_values(error.errors())
    more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    return Problem("invalid", f"{errors[0]['where']} {errors[0]['problem']}{more}", errors=errors)


def _refused(error: HTTPException, request: Request) -> Problem:
    """Return the problem behind an exception of the frameworks."""
    cause = error.__cause__
    if isinstance(cause, Problem):  # FastAPI wraps what is raised while a body is read
        return cause
    if error.status_code == 405:
        allowed = ", ".join(_allowed_methods(request)) or (error.headers or {}).get("Allow", "GET")
        return Problem("wrong-method", f"the address takes {allowed}", headers={"Allow": allowed})
    kind = next((name for name, kind in KINDS.items() if kind.status == error.status_code), None)
    if kind is None:
        kind = "malformed" if error.status_code < 500 else "failed"
    detail = _unreadable(cause) if kind == "malformed" else _DETAILS.get(kind, KINDS[kind].title)
    return Problem(kind, detail, headers=dict(error.headers or {}))


def _unreadable(cause: BaseException | None) -> str:
    known = (detail for error, detail in _UNREADABLE.items() if isinstance(cause, error))
    return next(known, _DETAILS["malformed"]) if not isinstance(cause, json.JSONDecodeError) else _DETAILS["malformed"]


def _allowed_methods(request: Request) -> list[str]:
    """Return all methods that the address takes, over all its routes; HEAD wherever GET is."""
    routes = cast("FastAPI", request.app).router.routes
    scope = {"type": "http", "path": request.scope["path"], "headers": [], "app": request.app, "root_path": ""}
    allowed = {
        method
        for method in _METHODS
        for route in routes
        if route.matches({**scope, "method": method})[0] is Match.FULL
        and (method == "GET" or not isinstance(route, Mount))  # files, which match whatever the method
    }
    return sorted(allowed | {"HEAD"} if "GET" in allowed else allowed)
