"""Traces of sampled downloads. None of this is in a worker whose setting `traces_share` is 0.

A sampled request is answered in the ordinary way, never by the fast path, and marks its steps on the way
(download.py): claim, resolve, plan, reserve where more is claimed, send, and settle where bytes were claimed.
The question of a front proxy takes only some of them (authorise.py): claim, resolve, and reserve where the
link has a limit. The rest is done by the proxy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.dataplane.download import Downloads
from gateway.dataplane.exchange import Channel, Exchange
from gateway.dataplane.request_reader import RequestReader
from gateway.http.client_address import TrustedProxies
from gateway.runtime.deferred import step
from gateway.runtime.tracing import NO_TRACE, TRACEPARENT, Tracing


class TracedDownloads(Downloads):
    """Decides for each request whether it is traced."""

    def __init__(self, tracing: Tracing, proxies: TrustedProxies, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._tracing = tracing
        self._trusts = proxies.trusts

    def begin(self, exchange: Exchange) -> None:
        """Begin to answer one request, which is answered whatever happens. Never raises."""
        said = exchange.headers.getall(TRACEPARENT, ()) if self._trusts(exchange.connection.peer) else ()
        trace = self._tracing.begin(said[0] if len(said) == 1 else None)
        if trace is None:
            super().begin(exchange)
        else:
            exchange.trace = trace
            step(self._endings.run(exchange, self._route))


class TracedReader(RequestReader):
    """Reads those requests as a whole that have a `traceparent`, because the quick way skips that field."""

    def read_quickly(self, connection: Channel, data: bytes) -> Exchange | None:
        """As that of RequestReader."""
        if b"traceparent:" in data.lower():
            return None
        return super().read_quickly(connection, data)


def recording_traces(record: Callable[[Exchange], None], tracing: Tracing) -> Callable[[Exchange], None]:
    """What records an exchange that has ended, and makes the spans of one that is traced."""

    def record_traced(exchange: Exchange) -> None:
        record(exchange)
        if exchange.trace is not NO_TRACE:
            tracing.end(exchange.trace, "download", _attributes(exchange), exchange.status)

    return record_traced


def _attributes(exchange: Exchange) -> dict[str, str | int]:
    """What a trace tells of a request: nothing that names a client, a token or a URL."""
    attributes: dict[str, str | int] = {
        "http.request.method": exchange.method,
        "gateway.bytes_sent": exchange.sent,
        "gateway.whole": int(exchange.whole),
    }
    if exchange.code:
        attributes["gateway.refusal"] = exchange.code
    if exchange.served is not None:
        attributes["gateway.product"] = exchange.served.product
        attributes["gateway.version"] = exchange.served.version
    return attributes
