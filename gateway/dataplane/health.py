"""What is neither a download nor an authorisation: health, preflights, and no."""

from __future__ import annotations

import logging
from typing import Final

from gateway.dataplane.exchange import ClientGone, Exchange
from gateway.errors import (
    METHOD_NOT_ALLOWED,
    METHOD_NOT_ALLOWED_HERE,
    NOT_FOUND,
    STORE_UNAVAILABLE,
    Refused,
    StoreUnavailable,
)
from gateway.http.pages import status_line
from gateway.http.targets import is_file_target
from gateway.runtime.metrics import FAULTS, STORE_ERRORS, Counters
from gateway.tokens.claims import Claims

PREFLIGHT_SECONDS: Final = 7200
"""How long a browser may remember a preflight; Chromium's own limit."""

_ALLOWED_FIELDS: Final = (
    "Authorization, If-Match, If-Modified-Since, If-None-Match, If-Range, If-Unmodified-Since, Range"
)
_METHODS: Final = frozenset(("GET", "HEAD"))
_WELL: Final = b'{"status": "ok"}'
_WELL_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    b"Cache-Control: no-store\r\n" % len(_WELL)
)
_log = logging.getLogger("gateway")


class HealthAndPreflight:
    """Answers requests that open no file."""

    def __init__(self, claims: Claims, counters: Counters) -> None:
        self._claims = claims
        self._count = counters.add

    async def answer(self, exchange: Exchange) -> None:
        """Answer one request, whatever happens. Never raises."""
        try:
            try:
                await self._answer(exchange)
            except Refused as refused:
                exchange.refuse(refused.refusal, refused.detail)
            except StoreUnavailable:
                self._count(STORE_ERRORS)
                exchange.refuse(STORE_UNAVAILABLE)
        except ClientGone:
            pass
        except Exception as error:  # a defect: the connection is broken, the worker lives
            self._count(FAULTS)
            _log.exception("a request ended by an unexpected %s", type(error).__name__)
            exchange.abort()
        finally:
            exchange.end()

    async def _answer(self, exchange: Exchange) -> None:
        path = exchange.target.partition("?")[0]
        download = is_file_target(path)
        preflights = download and bool(exchange.connection.server.cors_origins)
        if path not in ("/healthz", "/readyz") and not download:
            raise Refused(NOT_FOUND)
        if exchange.method == "OPTIONS" and preflights:
            exchange.respond(
                204, f"{status_line(204)}Allow: GET, HEAD, OPTIONS\r\n{_preflight(exchange)}".encode()
            )
            return
        if exchange.method not in _METHODS or download:
            raise Refused(METHOD_NOT_ALLOWED_HERE if preflights else METHOD_NOT_ALLOWED)
        if path == "/readyz":
            await self._claims.ping()
        exchange.respond(200, _WELL_HEAD, _WELL)


def _preflight(exchange: Exchange) -> str:
    """What a page of an allowed origin may send (the Fetch standard, CORS-preflight fetch)."""
    if not exchange.is_from_allowed_origin():
        return ""
    return (
        f"Access-Control-Allow-Methods: GET, HEAD\r\nAccess-Control-Allow-Headers: {_ALLOWED_FIELDS}\r\n"
        f"Access-Control-Max-Age: {PREFLIGHT_SECONDS}\r\n"
    )
