"""Templates and static files, found in the package."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from importlib.metadata import version
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from distilora.serve.page import figures, prose
from distilora.serve.problems import KINDS, Problem
from distilora.serve.state import served_by


def render(
    request: Request, template: str, *, status: int = 200, problem: Problem | None = None, **values: Any
) -> HTMLResponse:
    """Return a page made of a template of ``page/templates``; every value is escaped.

    Every template also gets ``served`` (:class:`distilora.serve.state.Served`), ``here`` (the page's path), ``version``
    of distilora, ``kinds`` of problems and the function ``static``.

    Args:
        request: that the page answers.
        template: name of the file.
        status: of the answer, unless there is a problem.
        problem: that the page tells of; status and headers are then the problem's.
        values: what the template shows; a name that it needs and does not get is an error.
    """
    content = (
        _environment()
        .get_template(template)
        .render(served=served_by(request), here=request.url.path, problem=problem, **values)
    )
    return HTMLResponse(content, problem.status if problem else status, problem.headers if problem else None)


def static_address(name: str) -> str:
    """Return where a file of ``page/static`` is found; it changes with the content, so a browser may keep it.

    Args:
        name: of the file.

    Raises:
        FileNotFoundError: there is none.

    Example:
        >>> static_address("style.css").partition("?v=")[0]
        '/static/style.css'
    """
    return f"/static/{name}?v={_content_hash(name)}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("distilora.serve.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(static=static_address, version=version("distilora"), kinds=KINDS)
    environment.filters.update(
        {each.__name__: each for each in figures.FILTERS}, prose=prose.blocks, sentence=prose.parts
    )
    return environment


@cache
def _content_hash(name: str) -> str:
    content = resources.files("distilora.serve.page").joinpath("static", name).read_bytes()
    return hashlib.sha256(content).hexdigest()[:12]
