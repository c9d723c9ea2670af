"""What every answer tells the browser that it may do with it.

Source: OWASP, HTTP Headers, https://cheatsheetseries.owasp.org/cheatsheets/HTTP_Headers_Cheat_Sheet.html.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from distilora.serve.protection.reading import is_within

CONTENT_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"form-action 'self'; frame-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_POLICY = b"content-security-policy"
_FRAMES = b"x-frame-options"
_CACHE = b"cache-control"
_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    # Not no-referrer: with it a browser sends "Origin: null" with our own forms, which is what a stranger's page sends.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"),
)


class SecurityHeaders:
    """Adds the headers that an answer does not set itself; one with a content policy of its own may be framed by us."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the headers added."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _completed(list(message.get("headers", ())), scope)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _completed(headers: list[tuple[bytes, bytes]], scope: Scope) -> list[tuple[bytes, bytes]]:
    set_already = {name for name, _ in headers}
    own_policy = _POLICY in set_already
    if not own_policy:
        headers.append((_POLICY, CONTENT_POLICY))
    if _FRAMES not in set_already:
        headers.append((_FRAMES, b"SAMEORIGIN" if own_policy else b"DENY"))
    if _CACHE not in set_already:
        headers.append((_CACHE, _caching(scope)))
    headers.extend(pair for pair in _ALWAYS if pair[0] not in set_already)
    return headers


def _caching(scope: Scope) -> bytes:
    """Return how long an answer may be kept: for ever only a file whose address holds its hash."""
    if not is_within(scope["path"], "/static"):
        return b"no-store"
    return b"public, max-age=31536000, immutable" if scope["query_string"].startswith(b"v=") else b"no-cache"
