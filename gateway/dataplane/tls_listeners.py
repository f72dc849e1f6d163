"""TLS: handshakes are counted and timed as connections are.

The event loop's own TLS listener shows a connection only when its handshake is complete. Until then nobody
counts it, so that a thousand clients that say nothing hold a thousand descriptors for a minute. So here
connections are accepted one by one. Each begins a handshake, unless there are too many connections, those in
a handshake included: then it is closed at once, because TLS cannot say more without a handshake. After the
handshake the connection belongs to the server, and its time-outs are the usual ones.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.dataplane.timeouts import LINGER_SECONDS
from gateway.runtime.system_errors import advise

ACCEPTS_PER_TURN: Final = 16
"""How many connections of a listener are accepted in one turn of the event loop."""
PAUSE_SECONDS: Final = 0.1
"""How long a listener rests when a connection cannot be accepted, because there is no descriptor left."""

OVERLOADED: Final = "tls_overloaded"
FAILED: Final = "tls_failed"
LATE: Final = "tls_timeout"
"""Why a connection ended before a request: codes for the log."""

_log = logging.getLogger("gateway")


@dataclass(frozen=True)
class TlsListeners:
    """The TLS listeners of one worker, and the handshakes that are under way.

    make: makes the protocol of a connection. count_open: counts those whose handshake is complete.
    max_connections: with those in a handshake. seconds: that a handshake may take. on_ended: is called with
    the peer of each connection that ends here, and OVERLOADED, FAILED or LATE.
    """

    context: ssl.SSLContext
    make: Callable[[], asyncio.Protocol]
    count_open: Callable[[], int]
    max_connections: int
    seconds: float
    on_ended: Callable[[Any, str], None]
    _running: set[asyncio.Task[None]] = field(default_factory=set)
    _listening: set[socket.socket] = field(default_factory=set)

    def start(self, sockets: Iterable[socket.socket]) -> None:
        """Begin to accept connections of listening sockets."""
        for each in sockets:
            each.setblocking(False)
            self._listening.add(each)
            self._watch(each)

    def stop(self) -> None:
        """Accept no more connections, and break the handshakes that are under way."""
        loop = asyncio.get_running_loop()
        for each in self._listening:
            loop.remove_reader(each)
        self._listening.clear()
        for task in self._running:
            task.cancel()

    def _watch(self, listening: socket.socket) -> None:
        if listening in self._listening:
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(ACCEPTS_PER_TURN):
            try:
                accepted, peer = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError as error:
                _log.warning("a connection cannot be accepted: %s", advise(error))
                loop.remove_reader(listening)
                loop.call_later(PAUSE_SECONDS, self._watch, listening)
                return
            if len(self._running) + self.count_open() >= self.max_connections:
                accepted.close()
                self.on_ended(peer, OVERLOADED)
                continue
            accepted.setblocking(False)
            task = loop.create_task(self._shake_hands(accepted, peer))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _shake_hands(self, accepted: socket.socket, peer: Any) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self.make,
                accepted,
                ssl=self.context,
                ssl_handshake_timeout=self.seconds,
                ssl_shutdown_timeout=LINGER_SECONDS,
            )
            return
        except (TimeoutError, ConnectionAbortedError):  # the second is what the loop raises for the first
            self.on_ended(peer, LATE)
        except OSError:  # ssl.SSLError is one
            self.on_ended(peer, FAILED)
        accepted.close()
