"""The health listener (`admin_listen`), in the supervisor: /healthz and /metrics of everything that it runs.

It answers while workers are busy, restarting or draining. Its answers contain no token, key or customer.

Two fixed answers to GET and HEAD on a private address need no web framework: to import one would add a third
of a second to the supervisor's start and 20 MB to its memory. Each connection serves one request.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, TypeAlias

from gateway.runtime.listeners import Listener
from gateway.runtime.metrics import Totals, render

JSON_TYPE: Final = "application/json; charset=utf-8"
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
HEAD_BYTES: Final = 16_384
HEAD_SECONDS: Final = 5.0
"""For head and answer together, so a connection lasts no longer."""
MAX_CONNECTIONS: Final = 64
"""Served at once. Some probes and scrapers need one each, for some milliseconds; a connection that sends
nothing takes a descriptor and up to 32 KiB of the supervisor's memory for HEAD_SECONDS."""


@dataclass(frozen=True)
class Health:
    """How the gateway is: `state` is ok, degraded or draining, and `children` has an entry for each slot."""

    state: str
    children: Sequence[dict[str, Any]]
    store: dict[str, Any] | None
    """The embedded store; None when the settings name another store."""
    hung: Sequence[str] = ()
    """The names of the children that hang, also of those that were replaced and have not ended yet."""
    hangs: Mapping[str, int] = field(default_factory=dict)
    """How many children have begun to hang, by role."""


HealthCheck: TypeAlias = Callable[[], Awaitable[Health]]


class HealthServer:
    """Answers /healthz and /metrics on one listener."""

    def __init__(self, listener: Listener, check: HealthCheck, totals: Totals) -> None:
        self._listener = listener
        self._check = check
        self._totals = totals
        self._server: asyncio.Server | None = None
        self._open = 0

    async def start(self) -> None:
        """Begin to answer."""
        self._server = await asyncio.start_server(
            self._serve, sock=self._listener.sockets[0], limit=HEAD_BYTES
        )

    def stop(self) -> None:
        """Stop answering."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._open >= MAX_CONNECTIONS:
            body = b"too many connections at once\n"
            writer.write(_response_head(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", len(body)) + body)
            writer.close()  # as little fits into the kernel's buffer, so nothing is waited for
            return
        self._open += 1
        # A client that is too slow, sends too much or has gone away gets no answer.
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                await self._exchange(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()
        finally:
            self._open -= 1
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        status, content_type, body = await self._respond(method, path)
        head = _response_head(status, content_type, len(body))
        writer.transport.set_write_buffer_limits(0)  # so that `drain` waits until the kernel has all of it
        writer.write(head if method == "HEAD" else head + body)
        await writer.drain()

    async def _respond(self, method: str, path: str) -> tuple[HTTPStatus, str, bytes]:
        if path not in ("/healthz", "/metrics"):
            return HTTPStatus.NOT_FOUND, "text/plain", b"only /healthz and /metrics are served here\n"
        if method not in ("GET", "HEAD"):
            return HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", b"only GET and HEAD are answered here\n"
        health = await self._check()
        if path == "/metrics":
            lines = [*render(self._totals.values()), *_render_health(health)]
            return HTTPStatus.OK, METRICS_TYPE, "\n".join(lines).encode() + b"\n"
        data = {
            "status": health.state,
            "children": list(health.children),
            "hung": list(health.hung),
            "store": health.store,
        }
        status = HTTPStatus.OK if health.state == "ok" else HTTPStatus.SERVICE_UNAVAILABLE
        return status, JSON_TYPE, json.dumps(data).encode() + b"\n"


def _response_head(status: HTTPStatus, content_type: str, length: int) -> bytes:
    fields = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {length}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        fields.append("Allow: GET, HEAD")
    return "\r\n".join([*fields, "", ""]).encode()


def _render_health(health: Health) -> Iterator[str]:
    """Lines of Prometheus' text format: how many processes of each role run, and their restarts."""
    by_role = [(child["name"].partition(" ")[0], child) for child in health.children]
    running = Counter(role for role, child in by_role if child["state"] == "running")
    restarts: Counter[str] = Counter()
    for role, child in by_role:
        restarts[role] += child["restarts"]
    watched = list(restarts)
    if health.store is not None:
        running["store"] = int(health.store["state"] == "ready")
        restarts["store"] = health.store["restarts"]
    yield "# HELP gateway_children_up Processes that work now."
    yield "# TYPE gateway_children_up gauge"
    for role in restarts:
        yield f'gateway_children_up{{role="{role}"}} {running[role]}'
    hung = Counter(name.partition(" ")[0] for name in health.hung)
    yield "# HELP gateway_children_hung Processes that run and do not react."
    yield "# TYPE gateway_children_hung gauge"
    for role in watched:
        yield f'gateway_children_hung{{role="{role}"}} {hung[role]}'
    yield "# HELP gateway_hangs_total Processes that did not react for hang_timeout, and were replaced."
    yield "# TYPE gateway_hangs_total counter"
    for role in watched:
        yield f'gateway_hangs_total{{role="{role}"}} {health.hangs.get(role, 0)}'
    yield "# HELP gateway_restarts_total Processes that ended unexpectedly and were started again."
    yield "# TYPE gateway_restarts_total counter"
    for role, count in restarts.items():
        yield f'gateway_restarts_total{{role="{role}"}} {count}'
