"""The gateway itself, started as anyone starts it, with every feature on and the access log written."""

from __future__ import annotations

import sys
import time
from typing import ClassVar

from bench.errors import BenchError
from bench.peers.base import Kind, Options, Peer, Server
from bench.peers.checks import ask
from bench.testbed.processes import READY_SECONDS, Crew, free_port
from bench.testbed.testbed import Ground
from gateway.config.settings import Settings


class Gateway(Peer):
    """`serve` or `serve-mint` with its supervisor; all its processes count."""

    name = "gateway"
    title = "this gateway"
    kinds: ClassVar = frozenset((Kind.DOWNLOAD, Kind.LIMITED, Kind.AUTH, Kind.MINT))

    def missing(self, options: Options) -> str | None:
        """TLS of its own is a setting that not every version has."""
        if options.tls and "tls_cert" not in Settings.model_fields:
            return "has no TLS of its own in this version"
        return None

    def target(self, kind: Kind, token: str, name: str) -> tuple[str, dict[str, str]]:
        """It needs no other URL for limited tokens: the token says what it may."""
        return super().target(Kind.DOWNLOAD if kind is Kind.LIMITED else kind, token, name)

    def start(self, ground: Ground, crew: Crew, options: Options) -> Server:
        port, admin = free_port(), free_port()
        folder = ground.folder
        settings = {
            "GATEWAY_MINT_LISTEN" if options.mint else "GATEWAY_LISTEN": f"127.0.0.1:{port}",
            "GATEWAY_ADMIN_LISTEN": f"127.0.0.1:{admin}",
            "GATEWAY_WORKERS": str(options.workers),
            "GATEWAY_ACCESS_LOG": str(folder / "access.log"),
            "GATEWAY_TRUSTED_PROXIES": "127.0.0.1",
            "GATEWAY_DRAIN_TIMEOUT": "1",  # stopping a server after a round shall not wait for its clients
        }
        if options.tls:
            settings["GATEWAY_TLS_CERT"], settings["GATEWAY_TLS_KEY"] = map(str, options.tls)
        if options.bucket:
            settings |= ground.bucket().settings
        if options.cache:
            settings["GATEWAY_CACHE_PATH"] = str(folder / "cache")
        command = [sys.executable, "-m", "gateway", "serve-mint" if options.mint else "serve"]
        program = crew.start(
            self.name, [*command, "--config", ground.config], cpus=options.cpus, environ=settings
        )
        program.wait_for("127.0.0.1", port)
        server = Server(self, program, port, options.tls is not None)
        if not options.mint:
            _wait_until_ready(server)
        return server


def _wait_until_ready(server: Server) -> None:
    """Until it says that the store answers. Raises BenchError after READY_SECONDS."""
    request = f"GET /readyz HTTP/1.1\r\nHost: {server.host}\r\nConnection: close\r\n\r\n".encode()
    deadline = time.monotonic() + READY_SECONDS
    while ask(server, request, 1000)[0].status != 200:
        if time.monotonic() > deadline:
            raise BenchError(f"the gateway is not ready after {READY_SECONDS:g} s: {server.program.quote()}")
        time.sleep(0.02)
