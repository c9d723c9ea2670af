"""The application: what stands before every request, and where each address leads."""

from __future__ import annotations

from importlib import resources
from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI
from starlette.staticfiles import StaticFiles

from distilora.serve.document import LICENSE, SERVERS, TAGS, describe
from distilora.serve.failures import answer_failures
from distilora.serve.protection.stack import protect
from distilora.serve.routes import compare, explain, feedback, files, health, models, pages, predict, reports, sign_in
from distilora.serve.routes.bodies import require_utf_8
from distilora.serve.state import Served

_SUMMARY = "Classifies comments with small models: every probability, every model, and why."
_DESCRIPTION = """\
Bodies are JSON in UTF-8. Whatever is refused is answered by a *problem* (RFC 9457) of media type
`application/problem+json`; its `type` names the kind of problem, and `errors` the places of the request that are wrong.
No problem holds any of the comments that came.
"""


class _Application(FastAPI):
    """FastAPI, whose OpenAPI document tells what this server serves."""

    def openapi(self) -> dict[str, Any]:
        """Return the document; it is made once."""
        if self.openapi_schema is None:
            self.openapi_schema = describe(super().openapi(), self.state.served)
        return self.openapi_schema


def create_app(served: Served) -> FastAPI:
    """Return the application over what is served, with everything that protects it."""
    app = _Application(
        title="distilora",
        version=version("distilora"),
        summary=_SUMMARY,
        description=_DESCRIPTION,
        license_info=LICENSE,
        openapi_tags=TAGS,
        servers=SERVERS,
        docs_url=None,  # they load scripts from elsewhere; /api is ours
        redoc_url=None,
        redirect_slashes=False,  # it would name http where a proxy speaks https
    )
    app.state.served = served
    for part in (predict, compare, explain, models, feedback, health, reports):
        app.include_router(part.router)
    for part in (files, sign_in, pages):  # they read forms
        app.include_router(part.router, dependencies=[Depends(require_utf_8)])
    static = resources.files("distilora.serve.page").joinpath("static")
    app.mount("/static", StaticFiles(directory=str(static)), name="static")
    answer_failures(app)
    protect(app, served)
    return app
