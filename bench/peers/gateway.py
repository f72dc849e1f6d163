"""The gateway itself, started as users start it, with every feature on and the access log written."""

from __future__ import annotations

import sys
import time
from itertools import count
from typing import ClassVar

from bench.errors import BenchError
from bench.peers.base import Peer, RequestKind, Server, StartOptions
from bench.peers.checks import fetch
from bench.testbed.processes import READY_SECONDS, ProcessGroup
from bench.testbed.testbed import Testbed
from gateway.config.settings import Settings


class Gateway(Peer):
    """`serve` or `serve-mint` with its supervisor; the CPU time and memory of all its processes count."""

    name = "gateway"
    title = "this gateway"
    kinds: ClassVar = frozenset(
        (RequestKind.DOWNLOAD, RequestKind.LIMITED, RequestKind.AUTH, RequestKind.MINT)
    )

    def __init__(self) -> None:
        self._numbers = count()

    def missing(self, options: StartOptions) -> str | None:
        """Older versions, which may be measured too, have no setting for TLS."""
        if options.tls and "tls_cert" not in Settings.model_fields:
            return "has no TLS of its own in this version"
        return None

    def target(self, kind: RequestKind, token: str, name: str) -> tuple[str, dict[str, str]]:
        """The URL is the same for tokens with a limit, since the store knows the limit."""
        return super().target(RequestKind.DOWNLOAD if kind is RequestKind.LIMITED else kind, token, name)

    def start(self, testbed: Testbed, processes: ProcessGroup, options: StartOptions) -> Server:
        folder = testbed.folder
        settings = {
            "GATEWAY_MINT_LISTEN" if options.mint else "GATEWAY_LISTEN": "127.0.0.1:0",
            "GATEWAY_ADMIN_LISTEN": f"unix:{folder}/admin-{next(self._numbers)}.sock",  # no second TCP port
            "GATEWAY_WORKERS": str(options.workers),
            "GATEWAY_ACCESS_LOG": str(folder / "access.log"),
            "GATEWAY_TRUSTED_PROXIES": "127.0.0.1",
            "GATEWAY_DRAIN_TIMEOUT": "1",  # a server that is stopped after a round need not wait for clients
        }
        if options.tls:
            settings["GATEWAY_TLS_CERT"], settings["GATEWAY_TLS_KEY"] = map(str, options.tls)
        if options.bucket:
            settings |= testbed.bucket().settings
        if options.cache:
            settings["GATEWAY_CACHE_PATH"] = str(folder / "cache")
        command = [sys.executable, "-m", "gateway", "serve-mint" if options.mint else "serve"]
        program = processes.start(
            self.name, [*command, "--config", testbed.config], cpus=options.cpus, environ=settings
        )
        port = program.wait_for_port()
        program.wait_for("127.0.0.1", port)
        server = Server(self, program, port, options.tls is not None)
        if not options.mint:
            _wait_until_ready(server)
        return server


def _wait_until_ready(server: Server) -> None:
    """Return when `/readyz` says that the store answers. Raises BenchError after READY_SECONDS."""
    request = f"GET /readyz HTTP/1.1\r\nHost: {server.host}\r\nConnection: close\r\n\r\n".encode()
    deadline = time.monotonic() + READY_SECONDS
    while fetch(server, request, 1000)[0].status != 200:
        if time.monotonic() > deadline:
            raise BenchError(
                f"the gateway is not ready after {READY_SECONDS:g} s: {server.program.last_errors()}"
            )
        time.sleep(0.02)
