"""The API key, and the cookie that stands for it in a browser.

A cookie holds when it ends and an HMAC of that; the HMAC's own key is stretched from the API key. So cookies outlive a
restart, hold for every process with the same key, end with a new key, and the key cannot be read from them.

A ticket is the same for an address: it lets its holder read reports and do nothing else. A report stands in a sandbox,
so that a browser sends no cookie when somebody follows a link there.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from functools import lru_cache

COOKIE = "distilora"
COOKIE_S = 12 * 3600
"""Seconds for which a person stays signed in."""
_FOR_ALL, _FOR_REPORTS = "", "reports "
"""What is signed before the end, so that neither a cookie nor a ticket stands for the other."""
_ROUNDS = 100_000


class Gate:
    """What opens to one API key.

    Args:
        key: the API key.

    Example:
        >>> gate = Gate("sixteen letters!")
        >>> gate.opens_to("sixteen letters!"), gate.opens_to("something else")
        (True, False)
    """

    def __init__(self, key: str) -> None:
        self._hash = _hash(key)
        self._cookie_key = hashlib.pbkdf2_hmac("sha256", key.encode(), b"distilora sign-in", _ROUNDS)

    def opens_to(self, key: str) -> bool:
        """Return whether this is the key; takes equally long for every other one."""
        return hmac.compare_digest(_hash(key), self._hash)

    def cookie(self, *, now_s: float | None = None) -> str:
        """Return the value of a fresh cookie.

        Args:
            now_s: seconds since 1970; absent: the clock's.
        """
        return self._signed(_FOR_ALL, now_s)

    def knows(self, cookie: str, *, now_s: float | None = None) -> bool:
        """Return whether this gate made the cookie and it has not ended."""
        return self._holds(cookie, _FOR_ALL, now_s)

    def ticket(self, *, now_s: float | None = None) -> str:
        """Return a fresh ticket to read reports; it ends when a cookie of the same moment does.

        Example:
            >>> gate = Gate("sixteen letters!")
            >>> gate.admits(gate.ticket()), gate.admits(gate.cookie()), gate.knows(gate.ticket())
            (True, False, False)
        """
        return self._signed(_FOR_REPORTS, now_s)

    def admits(self, ticket: str, *, now_s: float | None = None) -> bool:
        """Return whether this gate made the ticket and it has not ended."""
        return self._holds(ticket, _FOR_REPORTS, now_s)

    def _signed(self, purpose: str, now_s: float | None) -> str:
        ends = str(int((time.time() if now_s is None else now_s) + COOKIE_S))
        return f"{ends}.{self._signature(purpose + ends)}"

    def _holds(self, signed: str, purpose: str, now_s: float | None) -> bool:
        ends, _, signature = signed.partition(".")
        if not hmac.compare_digest(signature.encode("latin-1", "replace"), self._signature(purpose + ends).encode()):
            return False
        return int(ends) > (time.time() if now_s is None else now_s)  # its own signature: a number

    def _signature(self, text: str) -> str:
        return hmac.new(self._cookie_key, text.encode("latin-1", "replace"), "sha256").hexdigest()


@lru_cache(maxsize=8)
def gate_for(key: str) -> Gate:
    """Return the gate of a key; made once, as stretching takes some hundredths of a second."""
    return Gate(key)


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
