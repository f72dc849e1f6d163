"""The two Python servers one would write first. Their programs are plain_server.py and asgi_server.py."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import ClassVar

from bench.peers.base import Peer, Server, StartOptions
from bench.testbed.processes import ProcessGroup
from bench.testbed.testbed import COUNT, Testbed


class Plain(Peer):
    """An aiohttp application: a handler, redis-py, FileResponse; uvloop, no access log."""

    name = "plain"
    title = "aiohttp + redis-py + FileResponse"
    module: ClassVar[str] = "bench.peers.plain_server"

    def start(self, testbed: Testbed, processes: ProcessGroup, options: StartOptions) -> Server:
        command = [sys.executable, "-m", self.module, str(testbed.socket), str(testbed.files), COUNT]
        program = processes.start(self.name, command, cpus=options.cpus)
        port = program.wait_for_port()
        return Server(self, program, port)


class Starlette(Plain):
    """A Starlette application on uvicorn with httptools and uvloop: redis-py, FileResponse, no access log."""

    name = "starlette"
    title = "starlette + uvicorn + redis-py + FileResponse"
    module = "bench.peers.asgi_server"

    def missing(self, options: StartOptions) -> str | None:
        """These packages are needed by the bench alone."""
        absent = [name for name in ("starlette", "uvicorn", "httptools") if find_spec(name) is None]
        if absent:
            return f"{', '.join(absent)} missing: pip install --group bench"
        return super().missing(options)
