"""The two Python servers one would write first; the programs themselves are in plain_server, asgi_server."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import ClassVar

from bench.peers.base import Options, Peer, Server
from bench.testbed.processes import Crew, free_port
from bench.testbed.testbed import COUNT, Ground


class Plain(Peer):
    """An aiohttp application: a handler, redis-py, FileResponse; uvloop, no access log."""

    name = "plain"
    title = "aiohttp + redis-py + FileResponse"
    module: ClassVar[str] = "bench.peers.plain_server"

    def start(self, ground: Ground, crew: Crew, options: Options) -> Server:
        port = free_port()
        command = [sys.executable, "-m", self.module, str(port), str(ground.socket), str(ground.files), COUNT]
        program = crew.start(self.name, command, cpus=options.cpus)
        program.wait_for("127.0.0.1", port)
        return Server(self, program, port)


class Starlette(Plain):
    """A Starlette application on uvicorn with httptools and uvloop: redis-py, FileResponse, no access log."""

    name = "starlette"
    title = "starlette + uvicorn + redis-py + FileResponse"
    module = "bench.peers.asgi_server"

    def missing(self, options: Options) -> str | None:
        """Starlette and uvicorn are needed by the bench alone."""
        lacking = [name for name in ("starlette", "uvicorn", "httptools") if find_spec(name) is None]
        if lacking:
            return f"{', '.join(lacking)} missing: pip install --group bench"
        return super().missing(options)
