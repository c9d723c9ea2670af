"""Which middleware stands before which."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from distilora.serve.protection.access_key import AccessKey
from distilora.serve.protection.access_log import AccessLog
from distilora.serve.protection.admission import Admission
from distilora.serve.protection.body import BodyLimit
from distilora.serve.protection.draining import Draining
from distilora.serve.protection.head import HeadAsGet
from distilora.serve.protection.headers import SecurityHeaders
from distilora.serve.protection.hosts import KnownHosts
from distilora.serve.protection.keys import gate_for
from distilora.serve.protection.mistakes import Mistakes
from distilora.serve.protection.origin import SameOrigin
from distilora.serve.protection.text_log import TextLog
from distilora.serve.state import Served


def protect(app: FastAPI, served: Served) -> None:
    """Put every protection before the application.

    Args:
        app: what answers.
        served: whose settings say how much is let through.
    """
    app.add_middleware(Protection, served=served)


class Protection:
    """All protections as one middleware; what is no request, such as the application's start, passes by them."""

    def __init__(self, app: ASGIApp, served: Served) -> None:
        self._app = app
        self._protected = _protected(app, served)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass what comes through the protections, or by them."""
        await (self._protected if scope["type"] == "http" else self._app)(scope, receive, send)


def _protected(app: ASGIApp, served: Served) -> ASGIApp:
    """Return the application behind its protections; the last one that is put on is the first that a request meets."""
    settings = served.settings
    if settings.log_texts:
        app = TextLog(app)
    app = BodyLimit(app, limits=settings.limits)
    app = Admission(app, most=settings.limits.requests)
    if settings.api_key is not None:
        app = AccessKey(app, gate=gate_for(settings.api_key.get_secret_value()))
    app = SameOrigin(app, names=settings.allowed_hosts)
    app = KnownHosts(app, bound=settings.host, names=settings.allowed_hosts)
    app = Mistakes(app, phase=served.phase, with_messages=settings.log_texts)
    app = SecurityHeaders(app)
    app = Draining(app, phase=served.phase)
    app = AccessLog(app, metrics=served.metrics)
    return HeadAsGet(app)
