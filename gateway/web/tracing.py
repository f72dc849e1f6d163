"""Traces of sampled requests to the mint service and the web process (runtime/tracing.py)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from gateway.http.client_address import TrustedProxies
from gateway.runtime.tracing import TRACEPARENT, Tracing

Handler = Callable[[Any], Awaitable[web.StreamResponse]]


def traced(handler: Handler, tracing: Tracing, proxies: TrustedProxies, service: str) -> Handler:
    """What answers requests as `handler` does, and makes the spans of those that are sampled.

    A span has the template of its URL, never the URL itself, which may hold a secret.
    """

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        transport = request.transport
        peer = None if transport is None else transport.get_extra_info("peername")
        said = request.headers.getall(TRACEPARENT, ()) if proxies.trusts(peer) else ()
        trace = tracing.begin(said[0] if len(said) == 1 else None)
        if trace is None:
            return await handler(request)
        status = 500
        try:
            response = await handler(request)
            status = response.status
            return response
        finally:
            attributes: dict[str, str | int] = {"http.request.method": request.method}
            if template := _template(request):
                attributes["http.route"] = template
            tracing.end(trace, service, attributes, status)

    return answer


def _template(request: web.BaseRequest) -> str:
    resource = None
    if isinstance(request, web.Request):
        resource = request.match_info.route.resource
    return "" if resource is None else resource.canonical
