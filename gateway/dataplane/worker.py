"""One process of the data plane: its event loop, its signals, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import uvloop
from aiohttp import http_parser

from gateway.config.settings import Settings
from gateway.dataplane.server import Server
from gateway.dataplane.tls_listeners import OVERLOADED, TlsListeners
from gateway.dataplane.wiring import Worker, build_worker
from gateway.errors import GatewayError
from gateway.runtime import log, signals
from gateway.runtime.attempts import AttemptTable
from gateway.runtime.metrics import CONNECTIONS_REFUSED, Counters
from gateway.runtime.tls import server_context
from gateway.tokens.leases import Times

_log = logging.getLogger("gateway")

BACKLOG = 4096
ACCEPTS_PER_TURN = 16
"""How many connections are accepted in one turn of the event loop, at most. In each turn libuv accepts one
connection for each descriptor, and turns are long with quick clients. So each listener is watched by this
many descriptors. This halves the CPU time of new connections from 32 clients, and large files that 32 clients
begin to read at once mostly cost less (docs/decisions/0005)."""
GARBAGE_THRESHOLD = 50_000
"""How many new objects start a garbage collection. A request makes no cycles, so there is little garbage."""
STORE_SECONDS = 2.0
"""How long a new worker waits for the store before it accepts connections without it."""
DRAIN_POLL_SECONDS = 0.02
BREAK_SECONDS = 1.0
"""How long the broken connections may take to settle what their clients did not receive."""


def run(
    settings: Settings,
    sockets: list[socket.socket],
    slot: int,
    counters: Counters,
    ready: Callable[[], None],
    lease_times: Times | None = None,
    attempts: AttemptTable | None = None,
) -> None:
    """Serve downloads on the listening sockets until SIGTERM, then drain, and return.

    settings.redis_url must be set. slot: this worker's number, for the log. ready: is called once connections
    are accepted. lease_times: replaces the usual ones. attempts: shared with the other workers. Raises
    GatewayError when aiohttp has no C parser.
    """
    log.configure(settings)
    if http_parser.HttpRequestParser.__module__ != "aiohttp._http_parser":
        raise GatewayError("aiohttp's C parser is missing: install a wheel of aiohttp for this platform")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        worker = partial(build_worker, settings, counters, lease_times, slot, attempts)
        runner.run(_serve(settings, sockets, slot, worker, ready))


async def _serve(
    settings: Settings,
    sockets: list[socket.socket],
    slot: int,
    build: Callable[[], Worker],
    ready: Callable[[], None],
) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    tls = server_context(settings.tls_cert, settings.tls_key)
    worker = build()
    worker.topology.start()
    worker.takeovers.start()
    worker.server.start()
    worker.events.start()
    worker.event_log.start()
    if worker.access_log is not None:
        loop.add_signal_handler(signals.REOPEN, worker.access_log.reopen)
        worker.access_log.start()
    with contextlib.suppress(TimeoutError):  # without a store we can still answer that it is away
        async with asyncio.timeout(STORE_SECONDS):
            while not worker.topology.is_ready:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
    listeners: list[asyncio.Server] = []
    tls_listeners = None if tls is None else _tls_listeners(worker.server, tls)
    if tls_listeners is not None:
        tls_listeners.start(sockets)
    else:
        listeners = [
            await loop.create_server(worker.server, sock=each, backlog=BACKLOG)
            for sock in sockets
            for each in duplicates(sock)
        ]
    gc.freeze()  # what exists now stays for the life of the process, and the collector may skip it
    gc.set_threshold(GARBAGE_THRESHOLD)
    ready()
    _log.info("worker %d serves", slot)
    await stopping.wait()
    for listener in listeners:
        listener.close()
    if tls_listeners is not None:
        tls_listeners.stop()
    worker.server.drain()
    await _drained(worker.server.connections, settings.drain_timeout)
    worker.server.stop()
    await _drained(worker.server.connections, BREAK_SECONDS)
    worker.storages.close()
    await worker.takeovers.stop()
    worker.event_log.stop()
    await worker.events.stop()
    await worker.topology.stop()
    if worker.tracing is not None:
        await loop.run_in_executor(None, worker.tracing.stop)
    if worker.claims.owed:
        _log.error("%d refunds are lost: the store was away until the end", worker.claims.owed)
    if worker.access_log is not None:
        worker.access_log.stop()


def _tls_listeners(server: Server, context: ssl.SSLContext) -> TlsListeners:
    def on_ended(peer: Any, code: str) -> None:
        if code == OVERLOADED:
            server.count(CONNECTIONS_REFUSED)
        server.record_unread(peer, 0, code)

    return TlsListeners(
        context,
        server,
        lambda: len(server.connections),
        server.limits.max_connections,
        server.limits.header_timeout,
        on_ended,
    )


def duplicates(listener: socket.socket) -> list[socket.socket]:
    """The listener and its duplicates, one for each connection that a turn accepts: see ACCEPTS_PER_TURN."""
    return [listener, *(listener.dup() for _ in range(ACCEPTS_PER_TURN - 1))]


async def _drained(connections: Mapping[Any, Any], timeout: float) -> None:
    """Wait until every connection has closed, or the time is up."""
    try:
        async with asyncio.timeout(timeout):
            while connections:  # noqa: ASYNC110 - nothing announces that the table has changed
                await asyncio.sleep(DRAIN_POLL_SECONDS)
    except TimeoutError:
        _log.warning("%d connections were still busy after %g s and are broken", len(connections), timeout)
