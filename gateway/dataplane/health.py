"""Answers what is neither a download nor an authorisation: health checks, preflights, and refusals."""

from __future__ import annotations

from typing import Final

from gateway.dataplane.ending import Endings
from gateway.dataplane.exchange import Exchange
from gateway.errors import (
    METHOD_NOT_ALLOWED,
    METHOD_NOT_ALLOWED_HERE,
    NOT_FOUND,
    STORE_UNAVAILABLE,
    Refused,
    StoreUnavailable,
)
from gateway.http.client_address import TrustedProxies
from gateway.http.pages import status_line
from gateway.http.paths import normal_path, split_target
from gateway.http.targets import is_auth_target, is_file_target
from gateway.tokens.claims import Claims

PREFLIGHT_SECONDS: Final = 7200
"""How long a browser may remember a preflight; Chromium's own limit."""

_ALLOWED_FIELDS: Final = (
    "Authorization, If-Match, If-Modified-Since, If-None-Match, If-Range, If-Unmodified-Since, Range"
)
_METHODS: Final = frozenset(("GET", "HEAD"))
_HEALTHY: Final = b'{"status": "ok"}'
_HEALTHY_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    b"Cache-Control: no-store\r\n" % len(_HEALTHY)
)


class HealthAndPreflight:
    """Answers requests that open no file."""

    def __init__(self, claims: Claims, endings: Endings, proxies: TrustedProxies) -> None:
        self._claims = claims
        self._endings = endings
        self._proxies = proxies

    async def answer(self, exchange: Exchange) -> None:
        """Answer one request, whatever happens. Never raises."""
        await self._endings.run(exchange, self._answer)

    async def _answer(self, exchange: Exchange) -> None:
        path = normal_path(split_target(exchange.target)[0])
        is_download = is_file_target(exchange.target)
        has_preflights = is_download and bool(exchange.connection.server.cors_origins)
        if is_auth_target(exchange.target) and self._proxies.trusts(exchange.connection.peer):
            raise Refused(METHOD_NOT_ALLOWED)
        if path not in ("/healthz", "/readyz") and not is_download:
            raise Refused(NOT_FOUND)
        if exchange.method == "OPTIONS" and has_preflights:
            fields = _preflight_fields(exchange)
            exchange.respond(204, f"{status_line(204)}Allow: GET, HEAD, OPTIONS\r\n{fields}".encode())
            return
        if exchange.method not in _METHODS or is_download:
            raise Refused(METHOD_NOT_ALLOWED_HERE if has_preflights else METHOD_NOT_ALLOWED)
        if path == "/readyz":
            await self._check_store()
        exchange.respond(200, _HEALTHY_HEAD, _HEALTHY)

    async def _check_store(self) -> None:
        """Raise the refusal that says why the store cannot be used, if it cannot."""
        try:
            await self._claims.check()
        except StoreUnavailable as error:
            raise Refused(STORE_UNAVAILABLE, f"The store cannot be used. {error.reason}.") from None


def _preflight_fields(exchange: Exchange) -> str:
    """Return what a page of an allowed origin may send (the Fetch standard, CORS-preflight fetch)."""
    if not exchange.is_from_allowed_origin():
        return ""
    return (
        f"Access-Control-Allow-Methods: GET, HEAD\r\nAccess-Control-Allow-Headers: {_ALLOWED_FIELDS}\r\n"
        f"Access-Control-Max-Age: {PREFLIGHT_SECONDS}\r\n"
    )
