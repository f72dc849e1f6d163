"""Builds a worker's parts from the settings.

Alone knows the concrete backends; everything else is handed what it needs.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from gateway.accesslog import AccessLog
from gateway.counters import REFUSALS, RESPONSE_OTHER, RESPONSES, Counters
from gateway.download import Downloads
from gateway.editions import Editions
from gateway.errors import METHOD_NOT_ALLOWED, NOT_FOUND, STORE_UNAVAILABLE, Refusal, StoreUnavailable
from gateway.exchange import Exchange
from gateway.outcome import Outcome, step
from gateway.protocol import Limits, Server, refusal_response
from gateway.proxy import TrustedProxies
from gateway.rules.access import Kind, read_target
from gateway.rules.headers import prefers_html
from gateway.settings import Settings
from gateway.storage.registry import Storages
from gateway.tokens.claims import CLAIM, SETTLE, Claims
from gateway.tokens.pipeline import Pipeline

PREFLIGHT_SECONDS = 7200
"""How long a browser may remember a preflight; Chromium's own limit."""


@dataclass(frozen=True)
class Worker:
    """The parts of one data plane process."""

    server: Server
    pipeline: Pipeline
    access_log: AccessLog | None


def build_worker(settings: Settings, counters: Counters) -> Worker:
    """Build the parts; call on the running event loop. `settings.redis_url` must be set."""
    assert settings.redis_url is not None
    pipeline = Pipeline(
        settings.redis_url,
        timeout=settings.redis_timeout,
        queue=settings.redis_queue,
        scripts=(CLAIM, SETTLE),
    )
    claims = Claims(pipeline)
    proxies = TrustedProxies(settings.trusted_proxies)
    access_log = (
        None
        if settings.access_log == "off"
        else AccessLog(
            str(settings.access_log),
            lambda exchange: proxies.client(exchange.connection.peer, exchange.headers),
        )
    )
    downloads = Downloads(
        claims,
        Storages(settings.storage, settings.data, settings.open_files),
        Editions(),
        proxies,
        {name: table.accel_prefix for name, table in settings.storage.items()},
        counters,
    )
    recorder = Recorder(counters, access_log)
    other = Other(claims, frozenset(settings.cors_origins))
    server = Server(
        downloads.answer,
        other.handle,
        recorder.record,
        recorder.record_refused,
        counters,
        Limits(
            header_timeout=settings.header_timeout,
            keepalive_timeout=settings.keepalive_timeout,
            stall_timeout=settings.stall_timeout,
            max_connections=settings.max_connections,
            max_line=settings.max_line,
            max_field=settings.max_field,
            max_headers=settings.max_headers,
        ),
        settings.cors_origins,
    )
    return Worker(server, pipeline, access_log)


class Recorder:
    """Counts and logs what was answered."""

    def __init__(self, counters: Counters, log: AccessLog | None) -> None:
        self._count = counters.add
        self._log = log

    def record(self, exchange: Exchange) -> None:
        """One request has ended."""
        self._count(RESPONSES.get(exchange.status, RESPONSE_OTHER))
        if exchange.code:
            self._count(REFUSALS[exchange.code])
        if self._log is not None:
            self._log.add(exchange)

    def record_refused(self, refusal: Refusal) -> None:
        """A request that could not be read, or one connection too many."""
        self._count(RESPONSES.get(refusal.status, RESPONSE_OTHER))
        self._count(REFUSALS[refusal.code])


class Other:
    """Answers what is neither a download nor an authorisation: health, preflights, and no."""

    def __init__(self, claims: Claims, origins: frozenset[str]) -> None:
        self._claims = claims
        self._origins = origins

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """An ordinary aiohttp handler."""
        path = request.path
        html = prefers_html(request.headers.get("Accept"))
        download = read_target(path).kind is not Kind.OTHER
        if path not in ("/healthz", "/readyz") and not download:
            return refusal_response(NOT_FOUND, html)
        if request.method == "OPTIONS" and download and self._origins and "Origin" in request.headers:
            return self._preflight(request)
        if request.method not in ("GET", "HEAD"):
            return refusal_response(METHOD_NOT_ALLOWED, html)
        if path == "/readyz":
            try:
                await self._ping().future()
            except StoreUnavailable:
                return refusal_response(STORE_UNAVAILABLE, html)
        return web.json_response({"status": "ok"}, headers={"Cache-Control": "no-store"})

    def _ping(self) -> Outcome[None]:
        answered: Outcome[None] = Outcome()

        async def ping() -> None:
            try:
                await self._claims.ping()
                answered.set(None)
            except StoreUnavailable as error:
                answered.fail(error)

        step(ping())
        return answered

    def _preflight(self, request: web.BaseRequest) -> web.Response:
        """Answer a preflight (the Fetch standard): may a page of this origin send Range and the like."""
        origin = request.headers["Origin"]
        response = web.Response(status=204, headers={"Vary": "Origin", "Allow": "GET, HEAD, OPTIONS"})
        if "*" in self._origins or origin in self._origins:
            response.headers["Access-Control-Allow-Origin"] = "*" if "*" in self._origins else origin
            response.headers["Access-Control-Allow-Methods"] = "GET, HEAD"
            response.headers["Access-Control-Allow-Headers"] = (
                "Authorization, If-Match, If-Modified-Since, If-None-Match, If-Range, "
                "If-Unmodified-Since, Range"
            )
            response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
        return response
